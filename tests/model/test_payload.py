import gzip
import json
import sys
import tracemalloc
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import check_each
from relay.model import content_encoding
from relay.model.content_encoding import MAX_LAYERS, MAX_RATIO, MAX_UNPACKED, MIN_LIMIT, unpack
from relay.model.parsing import PayloadError, indent_json, parse_json
from relay.model.payload import Payload

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
EVENT = {"type": "a.b", "name": "René"}
TEXT = json.dumps(EVENT, ensure_ascii=False)


def deflate_raw(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def multipart(*parts, end=b"--B--\r\n", line=b"\r\n"):
    return b"".join(b"--B" + line + head + line * 2 + value + line for head, value in parts) + end


def field(name, more=b""):
    return b'Content-Disposition: form-data; name="' + name + b'"' + more


def read_parts(body, boundary="B"):
    return Payload(body, f"multipart/form-data; boundary={boundary}")


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", deflate_raw),
        ("identity", bytes),
        ("gzip, gzip", lambda data: gzip.compress(gzip.compress(data))),
        ("deflate, identity, gzip", lambda data: gzip.compress(zlib.compress(data))),
        ("gzip", lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    ],
)
def test_a_packed_body_reads_as_what_was_packed(encoding, pack):
    payload = Payload(pack(TEXT.encode()), JSON, encoding=encoding)
    assert payload.value == EVENT
    assert payload.problem == ""
    assert payload.unpacked.content == TEXT.encode()


@pytest.mark.parametrize("module", ["brotli", "backports.zstd"])
def test_a_body_packed_with_an_installed_package_reads_too(module):
    packer = pytest.importorskip(module)
    name = "br" if module == "brotli" else "zstd"
    payload = Payload(packer.compress(TEXT.encode()), JSON, encoding=name)
    assert payload.value == EVENT
    bomb = unpack(packer.compress(b"a" * 3_000_000), name)
    assert not bomb.readable
    assert len(bomb.content) == MIN_LIMIT


@pytest.mark.parametrize(("version", "readable"), [("1.10.0", True), ("1.2.0rc1", True), ("2", True), ("1.1.0", False)])
def test_brotli_is_used_from_the_release_on_that_can_be_stopped(monkeypatch, version, readable):
    class Decompressor:
        def process(self, data, *, output_buffer_limit):
            return data

        def is_finished(self):
            return True

    module = SimpleNamespace(__version__=version, Decompressor=Decompressor)
    monkeypatch.setitem(sys.modules, "brotli", module)
    content_encoding._find_brotli.cache_clear()
    try:
        assert unpack(b"{}", "br").readable is readable
    finally:
        content_encoding._find_brotli.cache_clear()


def test_an_encoding_that_nothing_here_undoes_is_named_and_the_body_stays_as_it_came():
    payload = Payload(b"\x01\x02", JSON, encoding="exi")
    assert payload.value is None
    assert payload.problem == "its encoding exi cannot be read here"
    assert payload.unpacked.content == b"\x01\x02"


def test_a_body_that_a_proxy_has_unpacked_reads_although_its_header_was_left():
    payload = Payload(TEXT.encode(), JSON, encoding="gzip")
    assert payload.value == EVENT
    assert payload.problem == "its Content-Encoding says gzip, which it is not"


def test_a_body_cut_short_or_damaged_shows_what_there_is_and_says_so():
    packed = gzip.compress(bytes(range(256)) * 40 + TEXT.encode())
    cut = Payload(packed[:-9], JSON, encoding="gzip")
    assert cut.value is None
    assert cut.problem == "its gzip ends too early"
    assert cut.unpacked.content.startswith(bytes(range(256)))
    damaged = Payload(packed[:-8] + b"12345678", JSON, encoding="gzip")
    assert (damaged.value, damaged.problem) == (None, "its gzip is damaged")


@pytest.mark.parametrize(
    ("size", "most", "why"),
    [
        (MIN_LIMIT, MIN_LIMIT, ""),
        (MIN_LIMIT + 1, MIN_LIMIT, "more than 100 times its size"),
        (5_000_000, None, "more than 100 times its size"),
    ],
)
def test_a_body_that_unpacks_to_too_much_stops_at_the_limit_and_says_so(size, most, why):
    packed = gzip.compress(b"a" * size)
    unpacked = unpack(packed, "gzip")
    assert len(unpacked.content) == (most or MAX_RATIO * len(packed))
    assert why in unpacked.problem
    assert unpacked.readable is not bool(why)


def test_no_body_unpacks_to_more_than_the_limit_in_however_many_layers():
    noise = b"".join(zlib.crc32(b"%d" % number).to_bytes(4) for number in range(60_000))
    payload = Payload(gzip.compress(noise * 100), JSON, encoding="gzip")
    assert len(payload.unpacked.content) == MAX_UNPACKED
    assert "more than 10.0 MB" in payload.problem
    assert "1000 parts" in unpack(gzip.compress(b"") * 1001, "gzip").problem
    assert "encodings" in unpack(b"x", ", ".join(["gzip"] * (MAX_LAYERS + 1))).problem


@settings(max_examples=200)
@given(st.binary(max_size=200), st.lists(st.sampled_from(["gzip", "deflate", "br", "zstd", "x", ""]), max_size=3))
def test_whatever_bytes_claim_to_be_packed_nothing_raises(body, names):
    payload = Payload(body, JSON, encoding=", ".join(names))
    assert isinstance(payload.problem, str)
    assert len(list(payload.lines())) >= 0


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("iso-8859-1", "latin-1"),
        ("ISO-8859-15", "iso-8859-15"),
        ("windows-1252", "cp1252"),
        ('"utf-16"', "utf-16"),
        ("utf-16le", "utf-16-le"),
        ("utf-8", "utf-8-sig"),
        ("shift_jis", "utf-8-sig"),  # the byte order mark says better
        ("nothing-like-it", "utf-8"),
        ("hex", "utf-8"),
        ("punycode", "utf-8"),
        ("", "utf-32"),
        ("", "utf-16-be"),
    ],
)
def test_text_is_read_by_its_charset(charset, codec):
    payload = Payload(TEXT.encode(codec), f"application/json; charset={charset}" if charset else JSON)
    assert payload.value == EVENT


def test_a_japanese_form_and_a_json_body_read_by_their_charsets():
    assert Payload('{"a":"東京"}'.encode("shift_jis"), "text/json; charset=Shift_JIS").value == {"a": "東京"}
    body = b"a=" + "東京".encode("shift_jis").hex("%").join(["%", ""]).encode()
    assert Payload(body, f"{FORM}; charset=shift_jis").value == {"a": "東京"}


def test_an_unknown_charset_is_named_and_a_wrong_one_says_where():
    assert Payload(b"{}", "application/json; charset=klingon").problem == (
        "its charset klingon is unknown here: read as UTF-8"
    )
    assert Payload(b'{"a": "\xe9"}', JSON).error.message == "not UTF-8 text at byte 7"


def test_a_form_says_its_charset_in_a_field_as_html_paypal_and_sendgrid_do():
    assert Payload(b"charset=windows-1252&name=Ren%E9", FORM).at("name") == "René"
    assert Payload(b"_charset_=iso-8859-1&n%E9=%E9", FORM).at("né") == "é"
    assert Payload(b"charset=windows-1252&name=Ren%C3%A9", FORM).at("name") == "René"
    parts = ((field(b"charsets"), b'{"text": "iso-8859-1"}'), (field(b"text"), b"Ren\xe9"))
    assert read_parts(multipart(*parts)).value["text"] == "René"


@pytest.mark.parametrize(
    "kind", ["application/x-ndjson", "application/jsonl", "application/json", "text/plain; charset=utf-8", ""]
)
def test_json_lines_are_a_list(kind):
    payload = Payload(b'{"a": 1}\r\n\n{"a": [2]}\n', kind)
    assert payload.value == [{"a": 1}, {"a": [2]}]
    assert payload.at(1, "a", 0) == 2
    assert payload.json == payload.value


@pytest.mark.parametrize("body", [b'{"a":[1]}', b'{"a":[1]}\n', b'{"a":[1]} \r\n\t'])
def test_json_with_white_space_after_it_is_decoded_once(body, monkeypatch):
    calls = []
    decode = json.JSONDecoder.raw_decode

    def count(*args):
        calls.append(args)
        return decode(*args)

    monkeypatch.setattr(json.JSONDecoder, "raw_decode", count)
    assert parse_json(body) == {"a": [1]}
    assert len(calls) == 1


@pytest.mark.parametrize("end", ["\x0c", "\xa0", "x", "\ufeff"])
def test_json_with_anything_else_after_it_is_refused(end):
    with pytest.raises(PayloadError, match="Extra data"):
        parse_json(f"[1]\n{end}")


def test_a_number_that_is_too_large_is_said_to_be():
    with pytest.raises(PayloadError, match=r"^a number is too large$"):
        parse_json("9" * 5000)
    with pytest.raises(PayloadError, match=r"^NaN is not JSON$"):
        parse_json("NaN")


def test_json_is_indented_as_it_is_written():
    text = '{"a":1.10,"a":1E5,"b":[],"c":[1,{"d":"\\u00e9 {,}\\""}],"e":1e400, "f" : {}}'
    assert list(Payload(text.encode(), "application/json").lines()) == [
        "{",
        '  "a": 1.10,',
        '  "a": 1E5,',
        '  "b": [],',
        '  "c": [',
        "    1,",
        "    {",
        '      "d": "é {,}\\""',
        "    }",
        "  ],",
        '  "e": 1e400,',
        '  "f": {}',
        "}",
    ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids),
    )
)
def test_json_is_indented_as_python_does(value):
    expected = json.dumps(value, indent=2, ensure_ascii=False)
    for text in (json.dumps(value), expected):
        assert "\n".join(indent_json(text)) == expected


@check_each("text", ["x" * 1_000_000, r"\n" * 500_000])
def test_indenting_a_long_text_takes_little_memory(text):
    tracemalloc.start()
    try:
        assert list(indent_json(f'["{text}"]'))[1] == f'  "{text}"'
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_json_text_sequences_are_a_list_and_a_bad_line_is_named():
    assert Payload(b'\x1e{"a":\n1}\n\x1e2\n', "application/json-seq").value == [{"a": 1}, 2]
    error = Payload(b'{"a": 1}\n{"a": \n', "application/x-ndjson").error
    assert (error.line, error.column) == (2, 7)


@pytest.mark.parametrize("body", [b"1\n2\n", b"{}\n{", b"{} {}", b"plain\ntext"])
def test_lines_that_are_not_all_json_are_no_list_where_nobody_said_so(body):
    assert Payload(body, "text/plain").value is None


def test_a_strict_reader_takes_json_lines_only_where_they_are_declared():
    assert Payload(b"{}\n{}", "application/x-ndjson").strict_document()[0] == [{}, {}]
    with pytest.raises(ValueError, match="Extra data"):
        Payload(b"{}\n{}", JSON).strict_document()


@pytest.mark.parametrize(
    "kind", ["application/vnd.api+json", "text/json", "text/plain", "", "application/octet-stream"]
)
def test_json_reads_under_any_name(kind):
    assert Payload(b' {"a": 1} ', kind).value == {"a": 1}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"payload=hello&kind=vip", {"payload": "hello", "kind": "vip"}),
        (b"payload=12&kind=vip", {"payload": "12", "kind": "vip"}),
        (b"payload=&kind=vip", {"payload": "", "kind": "vip"}),
        (b"payload=%7Bnot+json&kind=vip", {"payload": "{not json", "kind": "vip"}),
        (b"payload=%7B%22a%22%3A1%7D&kind=vip", {"a": 1}),
        (b"token=x&payload=%5B1%5D", [1]),
        (b"a=1&a=2&b%5Bc%5D=3", {"a": "2", "b[c]": "3"}),
        (b"name=M\xc3\xbcller", {"name": "Müller"}),
        (b'{"a": "b&c=d+e"}', {"a": "b&c=d+e"}),
    ],
)
def test_a_form_is_its_fields_unless_its_payload_holds_json(body, value):
    assert Payload(body, FORM).value == value


def test_every_field_of_a_form_can_be_had_beside_the_json_in_it():
    payload = Payload(b"token=x&payload=%7B%22a%22%3A1%7D", FORM)
    assert payload.form == (("token", "x"), ("payload", '{"a":1}'))
    assert payload.json == {"a": 1}


def test_the_query_is_the_payload_of_a_request_without_a_body():
    payload = Payload(b"", query="kind=vip&to=%2B49151&name=M%C3%BCller&flag")
    assert payload.value == {"kind": "vip", "to": "+49151", "name": "Müller", "flag": ""}
    assert payload.pointer("/to") == payload.at("to") == "+49151"
    assert payload.form == ()
    assert payload.json is None
    assert payload.json_at("kind") is None


def test_a_body_is_the_payload_whatever_the_query_says():
    assert Payload(b'{"a": 1}', JSON, query="a=2").value == {"a": 1}
    assert Payload(b"").value is None


def test_multipart_fields_are_the_payload_and_files_are_named():
    body = multipart(
        (field(b"kind"), b"vip"),
        (field(b"na%22me") + b"\r\nContent-Type: text/plain; charset=iso-8859-1", b"Ren\xe9\r\n--Bx"),
        (field(b"file", b'; filename="a \\"b\\".png"') + b"\r\ncontent-type: image/PNG", b"\x89PNG\r\n\0"),
        (b"Content-Type: text/csv\r\nContent-Disposition: form-data; name=f2;\r\n filename*=UTF-8''%E2%82%AC.csv", b""),
        (field(b"empty"), b""),
    )
    payload = read_parts(b"a preamble\r\n" + body + b"an epilogue")
    assert payload.value == {
        "kind": "vip",
        'na"me': "René\r\n--Bx",
        "file": {"filename": 'a "b".png', "type": "image/png", "size": 7},
        "f2": {"filename": "€.csv", "type": "text/csv", "size": 0},
        "empty": "",
    }
    assert payload.problem == ""
    assert [file.title for file in payload.files] == ['a "b".png (image/png, 7 B)', "€.csv (text/csv, 0 B)"]
    assert list(payload.lines())[-2:] == ['file = a "b".png (image/png, 7 B)', "f2 = €.csv (text/csv, 0 B)"]


def test_a_multipart_payload_field_that_holds_json_stands_for_the_body():
    body = multipart((field(b"payload"), b'{"event": "media.play"}'), (field(b"thumb", b"; filename=t.jpg"), b"\xff"))
    payload = read_parts(body)
    assert payload.value == {"event": "media.play"}
    assert payload.files[0].name == "t.jpg"


@pytest.mark.parametrize("line", [b"\r\n", b"\n"])
def test_multipart_reads_with_either_line_end_and_a_quoted_boundary(line):
    body = multipart((field(b"a"), b"1"), line=line)
    assert Payload(body, 'multipart/form-data; boundary="B"').value == {"a": "1"}


def test_multipart_that_breaks_off_keeps_its_whole_parts_and_says_so():
    payload = read_parts(multipart((field(b"a"), b"1"), (field(b"b"), b"2"), end=b"")[:-4])
    assert payload.value == {"a": "1"}
    assert payload.problem == "the body ends in the middle of a part"


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        (b"--B\r\n", "multipart/form-data", "its Content-Type names no boundary"),
        (b"--C--\r\n", "multipart/form-data; boundary=B", "the boundary of its Content-Type is nowhere in the body"),
        (multipart((b"X: 1", b"1")), "multipart/form-data; boundary=B", "a part has no name"),
        (multipart(*[(field(b"a"), b"")] * 1001), "multipart/form-data; boundary=B", "more than 1000 parts"),
    ],
)
def test_multipart_that_cannot_be_read_says_why(body, kind, problem):
    payload = Payload(body, kind)
    assert payload.value is None
    assert payload.problem == payload.error.message == problem


@settings(max_examples=300)
@given(
    st.lists(
        st.sampled_from(
            [
                b"--B",
                b"--",
                b"\r\n",
                b"\n",
                b"\r",
                b"a",
                b'Content-Disposition: form-data; name="x"',
                b"=",
                b";",
                b"\xff",
            ]
        ),
        max_size=16,
    )
)
def test_no_multipart_body_raises(pieces):
    payload = read_parts(b"".join(pieces))
    assert payload.value is None or isinstance(payload.value, dict)


@given(st.lists(st.tuples(st.text("abcé€", min_size=1, max_size=4), st.binary(max_size=30)), max_size=5))
def test_what_is_sent_as_multipart_is_what_is_read(fields):
    body = multipart(*[(field(name.encode()), value) for name, value in fields])
    assert read_parts(body).form == tuple((name, value.decode("utf-8", "surrogateescape")) for name, value in fields)


def test_an_item_of_a_batch_reads_like_a_body():
    item = Payload.of({"a": {"b": None}})
    assert item.json == item.value == {"a": {"b": None}}
    assert item.at("a", "b", missing=1) is None
    assert item.at("a", "c", missing=1) == 1
