"""The three programs of `danlu up`: addresses, flags, ports."""

import dataclasses
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import danlu
from danlu.adapters.errors import StartError
from danlu.adapters.host.settings import flag_name
from danlu.cli.__main__ import command
from danlu.cli.seats import seats
from danlu.cli.stack import (
    REFUSED,
    REFUSED_VARIABLES,
    UpSettings,
    check_variables,
    claim_ports,
    here,
    programs,
    split_flags,
)
from danlu.worker.settings import WorkerSettings

ANY = UpSettings(
    model_path="/models/glm",
    host="127.0.0.1",
    port=0,
    api_port=0,
    controller_port=0,
    worker_port=0,
)


def test_its_own_flags_stay_and_all_others_go_to_the_worker() -> None:
    argv = ["--model-path", "DIR", "--dtype", "float16", "--port=9", "--no-such", "-1", "--demo"]
    own, passed = split_flags(argv)
    assert own == ["--model-path", "DIR", "--port=9", "--demo"]
    assert passed == ["--dtype", "float16", "--no-such", "-1"]


def test_the_beginning_of_a_flag_of_ours_is_not_the_workers() -> None:
    own, passed = split_flags(["--model", "DIR", "--control", "http://c:1", "--dev", "cpu"])
    assert own == ["--model", "DIR", "--control", "http://c:1"]
    assert passed == ["--dev", "cpu"]
    with pytest.raises(StartError, match="--controller-address is not supported: `up` brings its"):
        command(["up", "--model", "DIR", "--controller-a", "http://c:1"])


def test_every_flag_of_the_worker_reaches_it_unless_it_is_ours() -> None:
    ours = {*REFUSED, *(flag_name(field.name) for field in dataclasses.fields(UpSettings))}
    for flag in {flag_name(field.name) for field in dataclasses.fields(WorkerSettings)} - ours:
        assert split_flags([flag, "x"]) == ([], [flag, "x"])


def test_an_upstream_takes_the_place_of_a_model() -> None:
    settings = dataclasses.replace(ANY, model_path="", upstream_url="http://up/v1")
    _, worker, _ = programs(settings, ("--upstream-model", "cat"), seats(settings))
    assert "--model-path" not in worker.argv
    begin = worker.argv.index("--engine")
    assert worker.argv[begin : begin + 4] == (
        *("--engine", "upstream"),
        *("--upstream-url", "http://up/v1"),
    )
    assert worker.argv[-2:] == ("--upstream-model", "cat")


@pytest.mark.parametrize("name", sorted(REFUSED_VARIABLES))
def test_a_variable_that_takes_a_program_out_of_the_stack_is_refused(name: str) -> None:
    with pytest.raises(StartError, match=f"^{name} is set: "):
        check_variables({name: "true"})
    check_variables({name: "0"})


def test_the_variables_that_are_refused_are_real_ones() -> None:
    page = Path(danlu.__file__).parent / "docs" / "settings.md"  # written from all settings
    known = page.read_text(encoding="utf-8")
    assert [name for name in REFUSED_VARIABLES if f"`{name}" not in known] == []


@given(st.lists(st.sampled_from(["--port", "7", "-1", "--device", "npu:1", "--demo", "--x=y"])))
def test_no_word_of_a_command_line_is_lost(argv: list[str]) -> None:
    own, passed = split_flags(argv)
    assert sorted(own + passed) == sorted(argv)


def test_this_machine_reaches_what_listens_everywhere() -> None:
    assert here("0.0.0.0", 1) == "http://127.0.0.1:1"
    assert here("::", 1) == "http://[::1]:1"
    assert here("10.0.0.7", 1) == "http://10.0.0.7:1"


def test_ports_that_are_not_given_become_four_free_ones() -> None:
    found = claim_ports(ANY)
    ports = {found.port, found.api_port, found.controller_port, found.worker_port}
    assert len(ports) == 4
    assert 0 not in ports


@pytest.mark.parametrize("name", ["port", "api_port", "controller_port", "worker_port"])
def test_a_taken_port_is_named_with_its_flag(name: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        flag = "--" + name.replace("_", "-")
        with pytest.raises(StartError, match=f"^cannot listen on 127.0.0.1:{number}: .* {flag}$"):
            claim_ports(dataclasses.replace(ANY, **{name: number}))


def test_an_address_that_is_not_here_is_named_with_its_flag() -> None:
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(StartError, match="--api-host .*address of this machine") as caught:
            claim_ports(dataclasses.replace(ANY, api_host=host))
        assert "port:" not in str(caught.value)


def test_two_programs_on_one_port_are_refused() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number = sock.getsockname()[1]
    with pytest.raises(
        StartError, match=f"^--api-port and --worker-port are both {number}; give each a port of"
    ):
        claim_ports(dataclasses.replace(ANY, api_port=number, worker_port=number))


def test_the_programs_know_each_other_by_the_ports_that_were_claimed() -> None:
    settings = claim_ports(ANY)
    controller, worker, page = programs(settings, ["--device", "npu:1"], seats(settings))
    assert [p.name for p in (controller, worker, page)] == ["controller", "worker", "webui"]
    assert worker.argv[:5] == (sys.executable, "-m", "danlu.worker", "--model-path", "/models/glm")
    assert worker.argv[-8:] == (
        *("--controller-address", f"http://127.0.0.1:{settings.controller_port}"),
        *("--heart-beat-interval", "5.0"),
        *("--drain-seconds", "30.0"),
        *("--device", "npu:1"),
    )
    assert page.argv[-2:] == ("--controller-url", f"http://127.0.0.1:{settings.controller_port}")
    assert worker.needs == page.needs == ("controller",)
    assert worker.ready_url == f"http://127.0.0.1:{settings.worker_port}/ready"


def test_each_card_has_a_worker_with_a_port_of_its_own() -> None:
    settings = claim_ports(dataclasses.replace(ANY, gpus="0,3"))
    _, first, other, _ = programs(settings, ["--device", "npu"], seats(settings))
    assert (first.name, other.name) == ("worker-0", "worker-3")
    assert first.argv[-4:] == ("--gpus", "0", "--device", "npu")
    assert other.argv[-4:] == ("--gpus", "3", "--device", "npu")
    assert first.ready_url != other.ready_url
    assert first.argv[2] == other.argv[2] == "danlu.worker"


@pytest.mark.parametrize("flag", REFUSED)
def test_a_flag_that_would_take_the_worker_out_of_the_stack_is_refused(flag: str) -> None:
    with pytest.raises(StartError, match=f"^{flag} is not supported: "):
        command(["up", "--model-path", "DIR", flag, "true"])


def test_only_the_page_is_open_to_the_network_by_default() -> None:
    settings = UpSettings()
    hosts = (settings.api_host, settings.controller_host, settings.worker_host)
    assert (settings.host, *hosts) == ("0.0.0.0", *["127.0.0.1"] * 3)
