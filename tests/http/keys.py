"""What schemathesis loads besides: each request gets the write key `dev`, or none; and what must follow from that.

KEY in the environment says which: `dev`, or empty for none.
"""

import os

import schemathesis

KEY = os.environ["KEY"]
IN_BODY = ("writeKey", "auth_token", "tracking_api_key")
IN_QUERY = (*IN_BODY, "data")
KEYED_TAGS = {"Segment", "Webhooks", "Vero", "Receipts"}


def without_keys(value):
    """A body without the keys that were generated, also those in the items of a batch and in JSON as text."""
    if isinstance(value, str):
        return value.replace("writeKey", "otherName")
    if isinstance(value, dict):
        return {name: without_keys(member) for name, member in value.items() if name not in IN_BODY}
    if isinstance(value, list):
        return [without_keys(element) for element in value]
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    """Puts the key where the operation takes it, and takes every other one away."""
    case.body = without_keys(case.body)
    if isinstance(case.query, dict):
        # `data` is base64 in which a key may be.
        case.query = {name: value for name, value in without_keys(case.query).items() if KEY or name != "data"}
    if "writeKey" in (case.path_parameters or {}):
        # A path with an empty place for the key would be another path.
        case.path_parameters["writeKey"] = KEY or "nobody"
    case.headers.pop("Authorization", None)
    if KEY and case.path.startswith("/api/v2/"):
        case.query = {**(case.query or {}), "auth_token": KEY}
    elif KEY:
        case.headers["Authorization"] = "Basic ZGV2Og=="


@schemathesis.check
def key_decides(context, response, case):
    """With the key nothing is answered 401, and without it no event is accepted, nor anything told of one."""
    tags = case.operation.definition.raw.get("tags", [])
    needs_key = KEYED_TAGS.intersection(tags) and "requestBody" in case.operation.definition.raw
    if KEY:
        assert response.status_code != 401, "401 in spite of the key"
    elif needs_key:
        assert response.status_code != 200, "200 without a key"


@schemathesis.check
def answers_any_origin(context, response, case):
    """A page of another origin may read every answer that is not the gateway's."""
    if response.status_code not in (413, 429, 431):
        assert response.headers.get("access-control-allow-origin") == ["*"], "another origin may not read this"
