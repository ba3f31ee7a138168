"""What the client of a push is told of each ref (gitprotocol-pack, Report Status), where git cannot say it all."""

from collections.abc import Mapping

from app.transports.pktline import FLUSH, MAX_LINE, PushCommands, decode_lines, encode_line

REPORTS = {b"report-status", b"report-status-v2"}
SIDE_BAND = b"side-band-64k"
REPORT_BAND = 1  # the band


def refuse_all(commands: PushCommands, reasons: Mapping[bytes, str]) -> bytes:
    """The answer to a push of which git has seen nothing: why each ref was not moved."""
    if REPORTS.isdisjoint(commands.capabilities):
        return FLUSH if SIDE_BAND in commands.capabilities else b""
    return _frame(
        commands,
        b"".join([encode_line(b"unpack ok\n"), *(_refusal_line(ref, reasons[ref]) for ref in reasons)]) + FLUSH,
    )


def amend_report(commands: PushCommands, said: bytes, reasons: Mapping[bytes, str]) -> bytes:
    """git's answer, with the reason for each of these refs. What is no whole answer of git's stays as it is."""
    if not reasons or REPORTS.isdisjoint(commands.capabilities):
        return said
    try:
        if SIDE_BAND not in commands.capabilities:
            return _rewrite(said, reasons)
        frames = list(decode_lines(said))
        report = b"".join(frame[1:] for frame in frames if frame[0] == REPORT_BAND)
        told = b"".join(encode_line(frame) for frame in frames if frame[0] != REPORT_BAND)
        return told + _frame(commands, _rewrite(report, reasons))
    except (ValueError, IndexError):
        return said


def _rewrite(report: bytes, reasons: Mapping[bytes, str]) -> bytes:
    found, missing = [], dict(reasons)
    for text in decode_lines(report):
        word, _, rest = text.partition(b" ")
        ref = rest.split(b" ")[0].rstrip(b"\n")
        reason = missing.pop(ref, None) if word == b"ng" else None
        found.append(encode_line(text) if reason is None else _refusal_line(ref, reason))
    return b"".join([*found, *(_refusal_line(ref, reason) for ref, reason in missing.items())]) + FLUSH


def _refusal_line(ref: bytes, reason: str) -> bytes:
    return encode_line(b"ng %s %s\n" % (ref, reason.encode()))


def _frame(commands: PushCommands, report: bytes) -> bytes:
    """As the client wants it: bare, or in a band beside git's words for people."""
    if SIDE_BAND not in commands.capabilities:
        return report
    pieces = [report[at : at + MAX_LINE - 1] for at in range(0, len(report), MAX_LINE - 1)]
    return b"".join(encode_line(bytes([REPORT_BAND]) + piece) for piece in pieces) + FLUSH
