"""Entries of a benchmark: what is misspelled is an error, not another set's score."""

from functools import partial

import pytest

from pengi_plugin.protocols.close_ended import multi_label
from pengi_plugin.protocols.entries import check_entry

ENTRY = {
    "title": "Mine",
    "protocol": partial(multi_label, classes=["dog", "rain"]),
    "manifests": ["mine/test.csv"],
    "where": {"task": "sound_events"},
    "fields": {"labels": "labels"},
    "separator": ";",
    "published": [{"metric": "mAP", "value": 0.5, "by": "Pengi", "verified": False}],
}


def prepare(data_folder, manifest_folder, fold=1):
    """Stand in for the preparation of a corpus."""


def own_protocol(session, rows):
    """Stand in for a protocol of a user's."""


def test_an_entry_as_documented_is_right():
    check_entry("mine", ENTRY)
    check_entry("mine", {**ENTRY, "prepare": partial(prepare, fold=2)})
    check_entry("mine", {**ENTRY, "published": "none confirmed"})
    check_entry("mine", {**ENTRY, "protocol": own_protocol, "fields": {"colour": "x"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seperator": ","}, "unknown key 'seperator'; did you mean 'separator'?"),
        ({"zzz": 1}, r"unknown key 'zzz'; known are \['title', 'protocol'"),
        ({"fields": {"lables": "labels"}}, "'lables'; did you mean 'labels'?"),
        ({"separator": ""}, "is the text between two labels; got ''"),
        (
            {"protocol": partial(multi_label, clases=["dog"])},
            "protocol of entry 'mine' has the unknown option 'clases'; did you mean "
            "'classes'?",
        ),
        (
            {"prepare": partial(prepare, folds=2)},
            "prepare of entry 'mine' has the unknown option 'folds'; did you mean",
        ),
        (
            {"published": [{"metric": "mAP", "value": 1, "by": "x", "ways": "y"}]},
            "figure of entry 'mine' has 'ways'; did you mean 'way'?",
        ),
    ],
)
def test_what_nothing_reads_is_told_with_the_name_that_is_meant(change, message):
    with pytest.raises(ValueError, match=message):
        check_entry("mine", {**ENTRY, **change})


def test_an_entry_without_fields_is_told():
    entry = {key: value for key, value in ENTRY.items() if key != "fields"}
    with pytest.raises(ValueError, match="Entry 'mine' has no fields"):
        check_entry("mine", entry)
