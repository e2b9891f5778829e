"""Work pools that commands create, change and delete."""

from __future__ import annotations

import pytest

from deployctl.api.calls import Request
from deployctl.app.operating.lookup import ObjectNotFound
from deployctl.app.operating.work_pools import (
    create_pool,
    delete_pool,
    deployments_in_pool,
    known_template,
    new_pool,
    update_pool,
    without_secrets,
)
from deployctl.core.errors import Conflict, LostResponse, NotFound, UsageError
from deployctl.core.json_values import Json
from deployctl.core.redact import MASK
from tests.unit.app.fake_driver import run_with


class Server:
    """Work pools by name; with `loses`, the response to the first write is lost."""

    def __init__(self, *names: str, loses: bool = False) -> None:
        self.pools = {name: {"name": name} for name in names}
        self.loses = loses

    def __call__(self, request: Request) -> Json:
        name = request.path.strip("/").partition("/")[2]
        if name == "filter":
            return list(self.pools.values())
        if request.method == "GET":
            return self.pools.get(name)
        done = self._write(request, name)
        if self.loses and not request.idempotent:
            self.loses = False
            raise LostResponse("lost")
        return done

    def _write(self, request: Request, name: str) -> Json:
        if request.method == "POST":
            if request.body["name"] in self.pools:
                raise Conflict("there")
            self.pools[request.body["name"]] = request.body
            return request.body
        if name not in self.pools:
            if request.missing_ok:
                return None
            raise NotFound("not there")
        if request.method == "DELETE":
            del self.pools[name]
        else:
            self.pools[name] |= request.body
        return None


@pytest.mark.parametrize("loses", [False, True])
def test_creates_pool_once_despite_lost_response(loses: bool) -> None:
    server = Server(loses=loses)
    assert run_with(create_pool("p", {"type": "process"}), server) == {
        "name": "p",
        "type": "process",
    }


@pytest.mark.parametrize("loses", [False, True])
def test_deletes_pool_despite_lost_response(loses: bool) -> None:
    server = Server("p", loses=loses)
    run_with(delete_pool("p"), server)
    assert server.pools == {}


def test_create_does_not_overwrite_existing_pool() -> None:
    with pytest.raises(Conflict):
        run_with(create_pool("p", {"type": "process"}), Server("p"))


def test_update_changes_only_given_fields() -> None:
    server = Server("p")
    pool, changed = run_with(update_pool("p", {"concurrency_limit": 0}), server)
    assert (pool["concurrency_limit"], changed) == (0, True)


def test_update_writes_nothing_if_nothing_changes() -> None:
    server = Server("p")
    server.pools["p"] |= {"is_paused": True}  # type: ignore[dict-item]
    requests: list[str] = []

    def answer(request: Request) -> Json:
        requests.append(request.method)
        return server(request)

    assert run_with(update_pool("p", {"is_paused": True}), answer)[1] is False
    assert requests == ["GET"]
    assert run_with(update_pool("p", {"is_paused": 1}), answer)[1] is True


def test_names_the_deployments_of_a_pool() -> None:
    server = Server("p")
    listings = {
        "/deployments/filter": [{"name": "b", "flow_id": "1"}, {"name": "a", "flow_id": "1"}],
        "/flows/filter": [{"id": "1", "name": "f"}],
    }
    found = run_with(deployments_in_pool("p"), lambda r: listings.get(r.path) or server(r))
    assert found == ["f/a", "f/b"]


def test_update_and_delete_of_unknown_pool_raise() -> None:
    for api_call in (update_pool("poool", {"is_paused": True}), delete_pool("poool")):
        with pytest.raises(ObjectNotFound) as error:
            run_with(api_call, Server("pool"))
        assert error.value.help == "Did you mean 'pool'?"


def test_masks_secrets_in_template_and_keeps_schemas() -> None:
    schema = {"type": "string", "title": "Token"}
    template = {
        "job_configuration": {"token": "{{ token }}", "password": "hunter2"},
        "variables": {
            "type": "object",
            "properties": {"token": {**schema, "default": "s3cr3t"}, "api_key": schema},
        },
    }
    shown = without_secrets({"name": "p", "base_job_template": template})["base_job_template"]
    assert shown["job_configuration"] == {"token": "{{ token }}", "password": MASK}
    assert shown["variables"]["properties"] == {
        "token": {**schema, "default": MASK},
        "api_key": schema,
    }


@pytest.mark.parametrize(
    ("type_", "help_"),
    [
        ("kubernets", "Did you mean 'kubernetes'? There are: kubernetes, docker, process, ecs, "),
        ("clod-run", "Did you mean 'cloud-run'?"),
        ("mine", "There are: kubernetes, "),
    ],
)
def test_rejects_unknown_pool_type(type_: str, help_: str) -> None:
    with pytest.raises(UsageError) as error:
        new_pool(type_, {})
    assert f"'{type_}'" in error.value.message
    assert (error.value.help or "").startswith(help_)
    assert (error.value.help or "").endswith("needs --base-job-template.")


def test_new_pool_has_given_template_or_its_types() -> None:
    given: Json = {"variables": {}}
    assert new_pool("mine", {"base_job_template": given})["base_job_template"] == given
    assert new_pool("docker", {"base_job_template": given})["base_job_template"] == given
    assert "image" in new_pool("docker", {})["base_job_template"]["variables"]["properties"]
    assert new_pool("ecs:push", {"is_paused": True}) == {"type": "ecs:push", "is_paused": True}


def test_unknown_template_lists_available_ones() -> None:
    with pytest.raises(UsageError) as error:
        known_template("proces")
    assert error.value.help == "Did you mean 'process'? There are: kubernetes, docker, process."
