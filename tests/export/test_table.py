"""The table of dense against now, and the sentences around it."""

from dataclasses import replace

from explorer.export import table
from explorer.export.table import latency_remarks, proof_text
from explorer.values import Latency, Proof


def timed(report, slow, fast):
    return replace(
        report,
        dense=replace(report.dense, latencies=(Latency(1, *slow, 20),)),
        now=replace(report.now, latencies=(Latency(1, *fast, 20),)),
    )


def test_every_row_has_dense_now_and_ratio(cut):
    lines = table(cut.report, "resnet20").splitlines()
    rows = {line.split("  ")[0]: line for line in lines}
    dense, now = cut.report.dense.cost, cut.report.now.cost
    assert "45.0 % (38.3 to 51.9)" in rows["accuracy, 200 explore images"]
    assert rows["accuracy, 200 explore images"].endswith("66.7 %")
    assert rows["accuracy, 100 final images"].endswith("66.3 %")
    assert rows["MACs"].split()[1:] == [
        f"{dense.macs:,}",
        f"{now.macs:,}",
        f"{now.macs / dense.macs:.1%}"[:-1],
        "%",
    ]
    assert f"{now.params:,}" in rows["parameters"]
    assert f"{now.file_bytes:,} bytes" in rows["file size"]
    assert f"{now.peak_bytes:,} bytes" in rows["peak activation memory"]
    assert "2 ms (1.82 to 2.22)" in rows["latency, batch 1"]
    assert rows["latency, batch 1"].endswith("50.0 %")


def test_it_says_what_was_asked_and_which_recovery_it_is_for(cut):
    title, request, *rest = table(cut.report, "resnet20 on toys").splitlines()
    assert title == "resnet20 on toys"
    assert request == (
        "Keep: at most 40 % of MACs. Rank channels by: at random. Share the cut: by global ranking. Seed: 3."
    )
    assert rest[0].startswith("After cutting: no recovery.")
    assert any(line.startswith("MACs: multiply-adds") for line in rest)


def test_without_images_or_timings_those_rows_are_missing(cut):
    bare = [
        replace(side, explore=None, final=None, latencies=()) for side in (cut.report.dense, cut.report.now)
    ]
    text = table(replace(cut.report, dense=bare[0], now=bare[1]), "resnet20")
    assert "accuracy," not in text
    assert "latency," not in text
    assert "MACs  " in text


def test_latency_that_does_not_fall_is_said(cut):
    (remark,) = latency_remarks(timed(cut.report, (2e-3, 1.9e-3, 2.1e-3), (2e-3, 1.9e-3, 2.1e-3)))
    assert remark.startswith("MACs fall to ")
    assert remark.endswith("the measured latency of batch 1 does not fall.")
    (noisy,) = latency_remarks(timed(cut.report, (2e-3, 1.5e-3, 3e-3), (1.5e-3, 1.2e-3, 1.6e-3)))
    assert "within its spread" in noisy
    assert latency_remarks(timed(cut.report, (2e-3, 1.9e-3, 2.1e-3), (1e-3, 0.9e-3, 1.1e-3))) == []
    dense = replace(cut.report, now=cut.report.dense)
    assert latency_remarks(dense) == []


def test_the_proof_is_said_in_words():
    good = Proof(max_difference=1e-6, scale=10.0, effect=3.0, finite=True, tolerance=1e-4)
    assert proof_text(good).startswith("ok: the shrunk network's logits are within 1.0e-06")
    assert "at a scale of 10, before recovery" in proof_text(good)
    assert "before recovery, computed in float64; the cut" in proof_text(replace(good, precision="float64"))
    assert "before recovery; float64 could not; the cut" in proof_text(
        replace(good, note="float64 could not")
    )
    assert proof_text(replace(good, effect=0.0)).startswith("not conclusive")
    assert proof_text(replace(good, max_difference=1.0)).startswith("FAILED")
