from relay.nkn import DEFAULT_SEEDS, Client
from relay.nkn.multi import ORIGINAL
from wire import limits

SEED = b"\1" * 32


async def test_a_clients_defaults_are_those_of_the_official_sdks():
    links = Client(seed=SEED)._links
    assert links._options.rpc_server_addr == DEFAULT_SEEDS
    assert links._options.reconnect_interval_min == limits.RECONNECT_MIN_S == 1.0
    assert links._options.reconnect_interval_max == limits.RECONNECT_MAX_S == 64.0
    assert not links._options.tls
    assert links._indices == [ORIGINAL]


async def test_a_client_that_was_not_started_opens_nothing():
    one = Client(seed=SEED)
    assert not one.is_ready
    assert one.statistics()["parts"] == {}
    await one.close()


async def test_one_address_may_be_given_as_text_as_to_the_official_sdk():
    options = Client(seed=SEED, rpc_server_addr="http://a:1", seed_ws_addr="ws://b:2")._links._options
    assert options.rpc_server_addr == ("http://a:1",)
    assert options.seed_ws_addr == ("ws://b:2",)
