import pytest

from gem_assets.audit.config import AuditConfig
from gem_assets.audit.facts import gather
from gem_assets.audit.pack import write_pack
from tests.audit.worlds import World


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> World:
    return World(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="session")
def pack(world, tmp_path_factory):
    """The whole folder, written once."""
    folder = world.audit(tmp_path_factory.mktemp("pack") / "audit")
    write_pack(folder, world.lineage, world.recipe, AuditConfig(), world.shards)
    return folder


@pytest.fixture(scope="session")
def account(world, pack):
    return gather(pack, world.lineage, world.recipe, AuditConfig(), world.shards)
