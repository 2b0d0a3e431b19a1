import enum
import hashlib
import random

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from etle.evidence import chain as c

# the examples of RFC 8785, section 3.2.2 and appendix B
RFC_8785 = [
    (
        {
            "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": '\u20ac$\u000f\u000aA\'\u0042\u0022\u005c\\"/',
            "literals": [None, True, False],
        },
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    ),
    ({"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7},
     '{"\\r":2,"1":4,"\u0080":6,"ö":7,"€":1,"\U0001f600":5,"\ufb33":3}'),
    ([-0.0, 5e-324, 9007199254740992.0, 295147905179352830000.0, 1e21, 9.999999999999997e22, 1e-7, 0.000001],
     "[0,5e-324,9007199254740992,295147905179352830000,1e+21,9.999999999999997e+22,1e-7,0.000001]"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), RFC_8785)
def test_canonical_json_is_that_of_rfc_8785(value: object, text: str) -> None:
    assert c.canonical_json(value) == text.encode()


def test_one_value_has_one_form() -> None:
    class State(enum.StrEnum):
        RED = "red"

    assert c.canonical_json({"b": 1.0, "a": (State.RED, "é")}) == '{"a":["red","é"],"b":1}'.encode()
    assert c.digest({"a": 1, "b": 2.0}) == c.digest({"b": 2, "a": 1.0})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60, "\ud800", {1: 2}, b"x", {1}, object()])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        c.canonical_json({"a": value})


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0.0, -0.0, 1e-4, 9.9e-5, 1e15, 1e16, 1e21, 2.5, 1e-7, 123456.789])
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)


@given(_JSON)
@settings(max_examples=300, deadline=None)
def test_canonical_json_is_byte_for_byte_that_of_the_rfc8785_package(value: object) -> None:
    assert c.canonical_json(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


def make(count: int, chain: str = "jambi") -> list[c.Link]:
    links, head = [], c.Head.empty()
    for number in range(count):
        links.append(c.append(chain, head, {"what": f"entry {number}", "at": number / 3}))
        head = links[-1].head
    return links


def test_a_whole_chain_verifies_as_a_whole_and_from_the_middle() -> None:
    links = make(50)
    assert [link.sequence for link in links] == list(range(1, 51))
    assert links[0].previous == c.GENESIS
    assert c.verify("jambi", links, head=links[-1].head) == []
    assert c.verify("jambi", links[20:], after=links[19].head) == []
    assert c.verify("jambi", [], head=c.Head.empty()) == []


def test_the_hash_is_what_the_documentation_says() -> None:
    [link] = make(1)
    by_hand = (
        '{"chain":"jambi","content":{"at":0,"what":"entry 0"},"format":"etle.link/1",'
        f'"previous":"{"0" * 64}","sequence":1}}'
    )
    assert link.sha256 == hashlib.sha256(by_hand.encode()).hexdigest()


def changed(link: c.Link, **fields: object) -> c.Link:
    values = {name: getattr(link, name) for name in ("chain", "sequence", "previous", "content", "sha256")}
    return c.Link(**(values | fields))  # type: ignore[arg-type]


def test_every_kind_of_change_is_found_at_its_place() -> None:
    links = make(10)
    rng = random.Random(3)
    for _ in range(300):
        at = rng.randrange(10)
        damaged = list(links)
        kind = rng.choice(["content", "content rehashed", "delete", "swap", "double", "previous", "sha256", "chain"])
        if kind == "content":
            damaged[at] = changed(links[at], content={"what": "forged", "at": at / 3})
        elif kind == "content rehashed":
            damaged[at] = c.append("jambi", c.Head(at, links[at].previous), {"what": "forged"})
        elif kind == "delete":
            del damaged[at]
        elif kind == "swap":
            other = (at + 1 + rng.randrange(9)) % 10
            damaged[at], damaged[other] = damaged[other], damaged[at]
        elif kind == "double":
            damaged.insert(at, links[at])
        elif kind == "previous":
            damaged[at] = changed(links[at], previous="f" * 64)
        elif kind == "sha256":
            damaged[at] = changed(links[at], sha256="f" * 64)
        else:
            damaged[at] = changed(links[at], chain="elsewhere")
        assert c.verify("jambi", damaged, head=links[-1].head), kind


def test_a_cut_off_end_shows_against_the_known_head_only() -> None:
    links = make(10)
    assert c.verify("jambi", links[:7]) == []
    [fault] = c.verify("jambi", links[:7], head=links[-1].head)
    assert fault.path == "link 7"


def test_one_altered_link_is_one_fault() -> None:
    links = make(10)
    links[4] = changed(links[4], content={})
    assert [(f.path, f.what) for f in c.verify("jambi", links)] == [("link 5", "altered")]
    links[4] = changed(links[4], content={"bad": float("nan")})
    assert [f.path for f in c.verify("jambi", links)] == ["link 5"]


# the test vectors of Certificate Transparency's reference implementation (google/certificate-transparency,
# merkletree/merkle_tree_test.cc): roots of the first n inputs. They are trees over raw inputs, so the leaf hash is
# replaced for this test.
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_merkle_root_is_that_of_certificate_transparency(count: int) -> None:
    assert c.merkle_root(INPUTS[:count]) == ROOTS[count - 1]


def test_merkle_root_of_nothing() -> None:
    assert c.merkle_root([]) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 31, 64, 65])
def test_every_leaf_proves_itself_and_nothing_else_does(size: int) -> None:
    leaves = [c.digest(n) for n in range(size)]
    root = c.merkle_root(leaves)
    for index, leaf in enumerate(leaves):
        proof = c.inclusion_proof(leaves, index)
        assert c.verify_inclusion(leaf, index, size, proof, root)
        assert not c.verify_inclusion(c.digest("other"), index, size, proof, root)
        assert not c.verify_inclusion(leaf, index, size, [*proof, leaf], root)
        if size > 1:
            assert not c.verify_inclusion(leaf, (index + 1) % size, size, proof, root)
            assert not c.verify_inclusion(leaf, index, size, proof[:-1], root)
        assert not c.verify_inclusion("not hex", index, size, proof, root)
    with pytest.raises(IndexError):
        c.inclusion_proof(leaves, size)
