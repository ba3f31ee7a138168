"""What the client of a push is told of each ref (gitprotocol-pack, Report Status), where git cannot say it all."""

from collections.abc import Mapping

from app.transports.pktline import FLUSH, LONGEST, Commands, line, lines

REPORTS = {b"report-status", b"report-status-v2"}
BANDED = b"side-band-64k"
REPORT = 1  # the band


def refused(commands: Commands, reasons: Mapping[bytes, str]) -> bytes:
    """The answer to a push of which git has seen nothing: why each ref was not moved."""
    if REPORTS.isdisjoint(commands.capabilities):
        return FLUSH if BANDED in commands.capabilities else b""
    return _sent(commands, b"".join([line(b"unpack ok\n"), *(_no(ref, reasons[ref]) for ref in reasons)]) + FLUSH)


def amended(commands: Commands, said: bytes, reasons: Mapping[bytes, str]) -> bytes:
    """git's answer, with the reason for each of these refs. What is no whole answer of git's stays as it is."""
    if not reasons or REPORTS.isdisjoint(commands.capabilities):
        return said
    try:
        if BANDED not in commands.capabilities:
            return _report(said, reasons)
        frames = list(lines(said))
        report = b"".join(frame[1:] for frame in frames if frame[0] == REPORT)
        told = b"".join(line(frame) for frame in frames if frame[0] != REPORT)
        return told + _sent(commands, _report(report, reasons))
    except (ValueError, IndexError):
        return said


def _report(report: bytes, reasons: Mapping[bytes, str]) -> bytes:
    found, missing = [], dict(reasons)
    for text in lines(report):
        word, _, rest = text.partition(b" ")
        ref = rest.split(b" ")[0].rstrip(b"\n")
        reason = missing.pop(ref, None) if word == b"ng" else None
        found.append(line(text) if reason is None else _no(ref, reason))
    return b"".join([*found, *(_no(ref, reason) for ref, reason in missing.items())]) + FLUSH


def _no(ref: bytes, reason: str) -> bytes:
    return line(b"ng %s %s\n" % (ref, reason.encode()))


def _sent(commands: Commands, report: bytes) -> bytes:
    """As the client wants it: bare, or in a band beside git's words for people."""
    if BANDED not in commands.capabilities:
        return report
    pieces = [report[at : at + LONGEST - 1] for at in range(0, len(report), LONGEST - 1)]
    return b"".join(line(bytes([REPORT]) + piece) for piece in pieces) + FLUSH
