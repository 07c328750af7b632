"""The simulator against the clock event by event, the fastest scheme by size, and `torchstone solve exchange`."""

import json
import random
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from torchstone import solve
from torchstone.cli import application
from torchstone.core.errors import UsageError
from torchstone.laws.exchange import Scheme, cost
from torchstone.laws.exchange.network import Network, run
from torchstone.laws.exchange.schedule import schedule
from torchstone.solve.exchange import simulate


def event_by_event(scheme, workers, parameters, network):
    nodes = workers + (scheme is Scheme.SEPARATE_SERVER)
    return max(run(network, [schedule(scheme, rank, nodes, parameters) for rank in range(nodes)]))


def some(draws, nodes, largest):
    return {rank: largest * draws.random() for rank in draws.sample(range(nodes), draws.randint(0, min(3, nodes)))}


@pytest.mark.parametrize("scheme", Scheme)
def test_stragglers_delay_as_they_do_event_by_event(scheme):
    draws = random.Random(0)
    for _ in range(150):
        workers = draws.randint(1, 17)
        nodes = workers + (scheme is Scheme.SEPARATE_SERVER)
        late = some(draws, nodes, draws.choice([0, 1, 50]))
        slow = {rank: 1 + by for rank, by in some(draws, nodes, draws.choice([0, 3])).items()}
        network = Network(draws.random(), draws.choice([0, draws.random()]), late, slow)
        parameters = draws.randint(1, 60)
        found = simulate(scheme, workers, parameters, network)
        wanted = event_by_event(scheme, workers, parameters, network)
        if found.exact:
            assert found.seconds == pytest.approx(wanted, rel=1e-9)
        else:
            assert wanted <= found.seconds * (1 + 1e-9) and "larger" in found.reason


def test_a_ring_with_many_stragglers_of_both_kinds_is_bounded_and_says_so():
    many = 1200
    found = simulate("ring", 5000, 5000, Network(1.0, 1.0, dict.fromkeys(range(many), 3.0), dict.fromkeys(range(many), 2.0)))
    assert not found.exact and found.seconds == 3 + 2 * cost.seconds("ring", 5000, 5000, 1.0, 1.0)


def test_a_hundred_thousand_workers():
    network = Network(1e-5, 4e-10, {3: 0.1}, {7: 2.0})
    assert simulate("tree", 100_000, 10**9, network).exact
    assert simulate("ring", 100_000, 10**9, network).seconds < 2 * cost.seconds("ring", 100_000, 10**9, 1e-5, 4e-10) + 0.1


@pytest.mark.parametrize(("network", "said"), [
    (Network(late={5: 1.0}), "late workers are ranks 0 to 2"), (Network(slow={0: 0.5}), "slow workers are ranks 0 to 2 with 1 or more"),
    (Network(late={0: float("nan")}), "0 or more"),
])
def test_stragglers_that_cannot_be_are_refused(network, said):
    with pytest.raises(UsageError, match=said):
        simulate("ring", 3, 10, network)


def test_the_fastest_by_size_is_the_fastest_at_that_size():
    for workers in (2, 3, 5, 8, 33, 64):
        found = solve.all_reduce(workers, 1000, latency=1e-5, bandwidth=1e9)
        ends = [one.first_bytes for one in found.crossovers[1:]] + [found.crossovers[-1].first_bytes * 4 + 1e9]
        for one, end in zip(found.crossovers, ends, strict=True):
            even = workers << workers.bit_length()
            middle = max(1, round((one.first_bytes + end) / 2 / 4 / even)) * even
            if not one.first_bytes <= 4 * middle <= end:
                continue
            times = {row.scheme: row.seconds for row in solve.all_reduce(workers, middle, latency=1e-5, bandwidth=1e9).rows}
            assert times[one.scheme] == pytest.approx(min(times.values()), rel=1e-9)


def test_the_fastest_below_one_parameter_is_not_said_and_parameters_are_whole():
    found = solve.all_reduce(4, 10, bandwidth=10)
    assert [(one.first_bytes, one.scheme) for one in found.crossovers] == [(0.0, "halving_doubling")]
    assert [one.scheme for one in solve.all_reduce(4, 10, bytes_each=2).crossovers] == ["all_to_all", "halving_doubling"]
    with pytest.raises(UsageError, match=r"^parameters: a whole number of them is needed; '1\.5' came$"):
        solve.all_reduce(4, "1.5")
    assert solve.all_reduce(4, "1.5k").parameters == 1500


def run_command(*words):
    return CliRunner().invoke(application(), ["solve", "exchange", *words], env={"COLUMNS": "200", "NO_COLOR": "1"})


def test_the_command_prints_a_table(tmp_path):
    done = run_command("--workers", "64", "--parameters", "1e9", "--late", "3:50ms", "--slow", "7:2x", "--json", str(tmp_path / "e.json"))
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("64 workers, 1,000,000,000 parameters (4 GB) each: ")
    assert "with stragglers" in lines[1] and "8,064" in done.stdout and "7.875 GB" in done.stdout
    assert "fastest by size of buffer: all-to-all below 18.02 kB" in done.stdout
    found = json.loads((tmp_path / "e.json").read_text())
    ring = next(one for one in found["schemes"] if one["scheme"] == "ring")
    assert ring["messages"] == 8064 and ring["busiest_bytes"] == found["least_bytes"] == 7_875_000_000
    assert found["late"] == {"3": 0.05} and ring["seconds_with_stragglers"] > ring["seconds"]


@pytest.mark.parametrize(("words", "said"), [
    (["--workers", "0"], "workers: a whole number of 1 or more is needed; 0 came"),
    (["--parameters", "many"], "parameters: a number of 1 or more"),
    (["--parameters", "0.5"], "parameters: a number of 1 or more"),
    (["--latency", "5m"], "latency: a number of 0 or more, with or without a unit (s, ms, us, ns), is needed; '5m' came"),
    (["--bandwidth", "0"], "a bandwidth is above 0; '0' came"),
    (["--bandwidth", "1e400GB/s"], "bandwidth: a number of 0 or more"),
    (["--bytes", "0"], "bytes of each parameter"),
    (["--late", "3"], "--late is a rank, a colon and an amount"),
    (["--late", "1:1s", "--late", "1:2s"], "once for each rank"),
    (["--slow", "1:0.5"], "slowness: a number of 1 or more"),
    (["--slow", "9:2"], "slow workers are ranks 0 to 3"),
    (["--scheme", "rign"], "did you mean 'ring'?"),
    (["--scheme", "all_gather"], "all-reduce schemes compete; all-gather (ring) came"),
])
def test_what_cannot_be_ends_in_one_line(words, said):
    usual = {"--workers": "4", "--parameters": "10"}
    done = run_command(*(word for option, value in usual.items() if option not in words for word in (option, value)), *words)
    assert done.exit_code == 2
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_one_worker_has_nothing_to_exchange():
    assert all(row.messages == 0 == row.seconds for row in solve.all_reduce(1, 10).rows)


def test_it_needs_no_torch():
    code = "from torchstone import solve; solve.all_reduce(8, 100); import sys; print([n for n in ('torch', 'numpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
