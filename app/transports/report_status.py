"""The report on each ref of a push (gitprotocol-pack, "Report Status"), with reasons that git does not know."""

from collections.abc import Mapping

from app.transports.pktline import FLUSH, MAX_LINE, PushCommands, decode_lines, encode_line

REPORTS = {b"report-status", b"report-status-v2"}
SIDE_BAND = b"side-band-64k"
REPORT_BAND = 1  # the side band that carries the report


def refuse_all(commands: PushCommands, reasons: Mapping[bytes, str]) -> bytes:
    """Build the report of a push that git never saw: the reason why each ref was refused."""
    if REPORTS.isdisjoint(commands.capabilities):
        return FLUSH if SIDE_BAND in commands.capabilities else b""
    return _frame(
        commands,
        b"".join([encode_line(b"unpack ok\n"), *(_encode_refusal(ref, reasons[ref]) for ref in reasons)]) + FLUSH,
    )


def amend_report(commands: PushCommands, output: bytes, reasons: Mapping[bytes, str]) -> bytes:
    """Put the reasons for these refs into git's output. Output that is not a complete report is returned unchanged."""
    if not reasons or REPORTS.isdisjoint(commands.capabilities):
        return output
    try:
        if SIDE_BAND not in commands.capabilities:
            return _rewrite_report(output, reasons)
        frames = list(decode_lines(output))
        report = b"".join(frame[1:] for frame in frames if frame[0] == REPORT_BAND)
        other_bands = b"".join(encode_line(frame) for frame in frames if frame[0] != REPORT_BAND)
        return other_bands + _frame(commands, _rewrite_report(report, reasons))
    except (ValueError, IndexError):
        return output


def _rewrite_report(report: bytes, reasons: Mapping[bytes, str]) -> bytes:
    lines, missing = [], dict(reasons)
    for line in decode_lines(report):
        word, _, rest = line.partition(b" ")
        ref = rest.split(b" ")[0].rstrip(b"\n")
        reason = missing.pop(ref, None) if word == b"ng" else None
        lines.append(encode_line(line) if reason is None else _encode_refusal(ref, reason))
    return b"".join([*lines, *(_encode_refusal(ref, reason) for ref, reason in missing.items())]) + FLUSH


def _encode_refusal(ref: bytes, reason: str) -> bytes:
    return encode_line(b"ng %s %s\n" % (ref, reason.encode()))


def _frame(commands: PushCommands, report: bytes) -> bytes:
    """Put the report into its side band if the client uses side bands."""
    if SIDE_BAND not in commands.capabilities:
        return report
    pieces = [report[at : at + MAX_LINE - 1] for at in range(0, len(report), MAX_LINE - 1)]
    return b"".join(encode_line(bytes([REPORT_BAND]) + piece) for piece in pieces) + FLUSH
