"""A short run of the soak test; `make soak` is a long one."""

import pytest

from tests.promises.soak import Soak

pytestmark = pytest.mark.slow

MINUTES = 0.75
SEED = 20261130


@pytest.mark.timeout(300)
async def test_nothing_is_lost_doubled_or_left_behind_while_everything_is_killed() -> None:
    report = await Soak(pushes=10_000, minutes=MINUTES, seed=SEED).run()
    assert not any(report.audit.counts.values()), report.render()
    assert report.ledger.pushes > 0
    assert report.ledger.merges
    assert report.ledger.forks
    assert report.ledger.issues
    assert len(report.happened) > 2
