"""`sora batch` against real hosts: every row once, whatever is killed meanwhile, and one sentence when it cannot be."""

import hashlib
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from sora_core.batch import run, table
from sora_core.batch.client import Client, HostGone, WorkflowError
from sora_core.batch.host import PACK, Server, find_hosts
from sora_core.batch.store import DONE, FAILED, QUEUED, Record, Store
from sora_core.cli import main
from tests.host.hosts import environment

DOCS = PACK / "docs" / "batch.md"


@pytest.fixture(scope="session")
def bench():
    """The scenarios of the benchmark, which are these tests in large."""
    sys.path.insert(0, str(PACK / "benchmarks"))
    try:
        import batch_jobs
    finally:
        sys.path.pop(0)
    return batch_jobs


@pytest.fixture
def command(bench, server, tmp_path):
    """(rows, more arguments) -> the command's arguments; results in tmp_path/out, 4 jobs at a time."""

    def make(count: int, *more: str, url: str = server.url) -> list[str]:
        workflow, rows = bench.write_jobs(tmp_path, count)
        out = str(tmp_path / "out")
        asked = ["batch", str(workflow), "--table", str(rows), "--out", out, "--host", url]
        return [*asked, "--set", "EmptyImage.color={color}", *more]

    return make


def process(asked: list[str], **options) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "sora_core", *asked], cwd=PACK, stderr=subprocess.PIPE, **options)


def records(folder: Path) -> dict:
    return Store(str(folder / "out")).records()


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "It did not happen."
        time.sleep(0.05)


def slow(count: int, folder: Path) -> tuple[str, str]:
    """Jobs of a second or so each, to have something to interrupt: (workflow, table)."""
    size = {"width": 1536, "height": 1536, "batch_size": 3, "color": 0}
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": size},
        "2": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 2, "sigma": 1.0}},
        "3": {"class_type": "ImageFromBatch", "inputs": {"image": ["2", 0], "batch_index": 0, "length": 1}},
        "4": {"class_type": "ImageScale", "inputs": {"image": ["3", 0], "upscale_method": "area", "crop": "disabled"}},
        "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "slow"}},
    }
    graph["4"]["inputs"] |= {"width": 16, "height": 16}
    (folder / "slow.json").write_text(json.dumps(graph))
    (folder / "slow.csv").write_text("c\n" + "".join(f"{row}\n" for row in range(count)))
    return str(folder / "slow.json"), str(folder / "slow.csv")


# ----------------------------------------------------------------------------------------------------- what it does


def test_every_row_is_done_once_and_its_record_says_how(bench, server, command, tmp_path, capsys):
    asked = command(6, "--name", "pictures/{row} {color}", "--json")
    queued = len(server.get("/history"))
    assert main(asked) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["rows"], said["new"]) == (6, 6) and len(server.get("/history")) == queued + 6
    found = records(tmp_path)
    assert len({record.prompt_id for record in found.values()}) == 6
    for row, record in found.items():
        (file,) = record.files
        data = (tmp_path / "out" / file["file"]).read_bytes()
        assert file == {
            "file": f"pictures/{row} {bench.colour(row)}.png",
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
        }
        assert record.settings == {"EmptyImage.color": str(bench.colour(row))}
        assert record.state == DONE and record.host == server.url and record.seconds >= 0 and record.error is None
    # Once more: nothing is done, and a row that was added is all that is.
    assert main(asked) == 0 and len(server.get("/history")) == queued + 6
    assert main(command(7, "--name", "pictures/{row} {color}")) == 0
    assert len(server.get("/history")) == queued + 7 and len(records(tmp_path)) == 7
    # Another job under the same number is not silently taken for done.
    assert main([*asked[:-3], "--name", "x{row}", "--set", "EmptyImage.width=32"]) == 2
    assert "was made from another workflow, table, --set or uploaded file" in capsys.readouterr().err


def test_a_template_of_the_front_end_with_prompts_and_seeds_from_a_table(server, tmp_path, capsys):
    rows = [{"text": "a red ball", "seed": 5}, {"text": "ein / grüner Stern", "seed": 6}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ["batch", str(PACK / "workflows" / "text_to_image.json"), "--table", str(tmp_path / "t.jsonl")]
    asked += ["--set", "Prompt.text={text}", "--set", "SoraSampler.seed={seed}", "--set", "SoraSampler.steps=1"]
    asked += ["--host", server.url, "--out", str(tmp_path / "out"), "--name", "{row} {text}"]
    assert main(asked) == 0, capsys.readouterr().err
    found = records(tmp_path)
    assert [found[row].seed for row in (1, 2)] == [5, 6]
    with Image.open(tmp_path / "out" / "2 ein _ grüner Stern.png") as image:
        prompt = json.loads(image.info["prompt"])
        assert "ein / grüner Stern" in [node["inputs"].get("text") for node in prompt.values()]
        assert json.loads(image.info["workflow"])["nodes"]  # the graph opens again from the picture


def test_pictures_are_uploaded_under_names_of_their_own(bench, server, tmp_path):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }
    (tmp_path / "w.json").write_text(json.dumps(graph))
    for row in (1, 2):  # two files of the same name
        (tmp_path / str(row)).mkdir()
        Image.new("RGB", (8, 8), f"#{bench.colour(row):06x}").save(tmp_path / str(row) / "photo.png")
    lines = "".join(f"{tmp_path / str(row) / 'photo.png'}\n" for row in (1, 2))
    (tmp_path / "t.csv").write_text("photo\n" + lines)
    asked = ["batch", str(tmp_path / "w.json"), "--table", str(tmp_path / "t.csv"), "--host", server.url]
    assert main([*asked, "--upload", "LoadImage.image={photo}", "--out", str(tmp_path / "out")]) == 0
    assert bench.right(tmp_path / "out", 2) == 2


def test_a_picture_that_the_host_refuses_is_called_by_its_own_name(server, tmp_path, capsys):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "none.png"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "copy"}},
    }
    (tmp_path / "w.json").write_text(json.dumps(graph))
    (tmp_path / "fake.png").write_text("not a picture")
    (tmp_path / "t.csv").write_text("photo\n" + f"{tmp_path / 'fake.png'}\n")
    asked = ["batch", str(tmp_path / "w.json"), "--table", str(tmp_path / "t.csv"), "--host", server.url]
    asked += ["--upload", "LoadImage.image={photo}", "--out", str(tmp_path / "out"), "--retries", "0"]
    assert main(asked) == 2
    error = records(tmp_path)[1].error
    assert error.startswith("LoadImage: ") and error.endswith(f" (uploaded from {tmp_path / 'fake.png'})")
    assert f"row 1: {error}\n" in capsys.readouterr().err


def test_the_pictures_of_a_row_sort_by_their_names(bench, server, command, tmp_path):
    for count, form in ((9, "d"), (10, "02d")):
        names = [f"00001-{number:{form}}.png" for number in range(1, count + 1)]
        out = tmp_path / str(count)
        assert main(command(1, "--set", f"EmptyImage.batch_size={count}", "--out", str(out))) == 0
        assert sorted(path.name for path in out.glob("*.png")) == names
        assert [file["file"] for file in Store(str(out)).record(1).files] == names


def test_never_more_jobs_wait_than_were_allowed(bench, server, tmp_path):
    bench.write_jobs(tmp_path, 12)
    jobs = table.jobs(table.read(tmp_path / "rows.csv"), bench.WORKFLOW, bench.SETTINGS, {}, "{row:05d}")
    store, lengths = Store(str(tmp_path / "out")), []
    worker = run.Worker(Client(server.url), store, bench.WORKFLOW)

    def watch(kind, data) -> None:
        if kind == "status":
            lengths.append(data["status"]["exec_info"]["queue_remaining"])

    worker.watchers.append(watch)
    run.on_host(worker, run.remaining(jobs, store), 2, lambda record: None)
    assert 1 <= max(lengths) <= 2 and bench.right(tmp_path / "out", 12) == 12


def test_results_go_to_any_location_of_fsspec(bench, server, command, tmp_path):
    asked = command(2)
    place = f"memory://{tmp_path.name}-{server.host.version}"
    asked[asked.index("--out") + 1] = place
    assert main(asked) == 0
    store = Store(place)
    for row, record in store.records().items():
        assert store.exists(f"{row:05d}.png") and record.state == DONE


# ------------------------------------------------------------------------------------------ what goes wrong meanwhile


def test_a_killed_run_goes_on_where_it_was_and_queues_nothing_twice(bench, server, command, tmp_path):
    asked, queued = command(30), len(server.get("/history"))
    running = process(asked)
    wait_for(lambda: sum(record.state == DONE for record in records(tmp_path).values()) >= 5)
    running.kill()
    running.communicate()
    before = records(tmp_path)
    assert len(before) < 30
    assert main(asked) == 0
    assert bench.right(tmp_path / "out", 30) == 30
    assert len(server.get("/history")) == queued + 30  # what the host had already got was found, not queued again
    after = records(tmp_path)
    done = {row: record for row, record in before.items() if record.state == DONE}  # one may be named but not yet sent
    assert len(done) >= 5 and all(after[row].prompt_id == record.prompt_id for row, record in done.items())


def test_an_interrupt_clears_the_queue_and_keeps_what_was_done(server, tmp_path):
    graph, rows = slow(6, tmp_path)
    asked = ["batch", graph, "--table", rows, "--set", "EmptyImage.color={c}", "--out", str(tmp_path / "out")]
    asked += ["--host", server.url]
    queued = len(server.get("/history"))
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs deaf to it
    running = process(asked, preexec_fn=heed)
    wait_for(lambda: any(record.state == DONE for record in records(tmp_path).values()))
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert re.search(rb"sora: interrupted; \d of 6 rows are done, the same command goes on.\n$", told), told
    assert not server.get("/queue")["queue_pending"]
    assert main(asked) == 0
    assert len(server.get("/history")) == queued + 6 and len(records(tmp_path)) == 6


def test_rows_that_fail_are_named_tried_again_and_hinder_no_other(server, tmp_path, capsys):
    graph = {
        "1": {"class_type": "SoraLoadModel", "inputs": {"checkpoint": "tiny.safetensors"}},
        "2": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["1", 2]}},
        "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 1}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }
    fine = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}}
    fine["2"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "y"}}
    (tmp_path / "fails.json").write_text(json.dumps(graph))  # a latent of four channels is none of this VAE's
    (tmp_path / "fine.json").write_text(json.dumps(fine))
    (tmp_path / "t.csv").write_text("width\n8\n999999999\n16\n")
    common = ["--table", str(tmp_path / "t.csv"), "--host", server.url]
    queued = len(server.get("/history"))
    asked = ["batch", str(tmp_path / "fails.json"), *common, "--out", str(tmp_path / "none"), "--retries", "1"]
    assert main([*asked, "--set", "EmptyLatentImage.batch_size={row}"]) == 2
    assert "3 of 3 rows failed (row" in capsys.readouterr().err
    assert len(server.get("/history")) == queued + 6  # each was tried twice
    # The host refuses row 2; it is not asked again, and the others are done.
    asked = ["batch", str(tmp_path / "fine.json"), *common, "--out", str(tmp_path / "out")]
    assert main([*asked, "--set", "EmptyImage.width={width}"]) == 2
    told = capsys.readouterr().err
    assert "1 of 3 rows failed (row 2: EmptyImage: " in told and "mend the setting, its cell in the table" in told
    assert {row: record.state for row, record in records(tmp_path).items()} == {1: DONE, 2: "failed", 3: DONE}
    # Mended in the table, it is done, and the others are left alone.
    (tmp_path / "t.csv").write_text("width\n8\n12\n16\n")
    queued = len(server.get("/history"))
    assert main([*asked, "--set", "EmptyImage.width={width}"]) == 0
    assert len(server.get("/history")) == queued + 1
    # Refused rows are told in the order of the table, however the answers come.
    (tmp_path / "t.csv").write_text("width\n" + "999999999\n" * 12)
    asked[-1] = str(tmp_path / "refused")
    assert main([*asked, "--set", "EmptyImage.width={width}"]) == 2
    told = re.findall(r"(?<!\()row (\d+): ", capsys.readouterr().err)
    assert told == [str(row) for row in range(1, 13)]


def test_a_workflow_that_saves_nothing(server, tmp_path, capsys):
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}}}
    graph["2"] = {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}
    (tmp_path / "w.json").write_text(json.dumps(graph))
    (tmp_path / "t.csv").write_text("a\n1\n")
    asked = ["batch", str(tmp_path / "w.json"), "--table", str(tmp_path / "t.csv"), "--out", str(tmp_path / "out")]
    assert main([*asked, "--host", server.url]) == 2
    assert "The workflow saves no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "EmptyPicture.color=1"], "The workflow has no node 'EmptyPicture'; it has 1 (EmptyImage)"),
        (["--set", "EmptyImage.colour=1"], "The node 1 (EmptyImage) has no input 'colour'; it has width"),
        (["--set", "EmptyImage.width=wide"], "EmptyImage.width takes a whole number, not 'wide'."),
        (["--upload", "SaveImage.filename_prefix=/nowhere/{row}.png"], "/nowhere/1.png cannot be read"),
    ],
)
def test_what_cannot_be_set_is_told_before_anything_is_queued(server, command, tmp_path, capsys, more, said):
    queued = len(server.get("/history"))
    assert main(command(2, *more)) == 2
    assert f"Row 1: {said}" in capsys.readouterr().err and len(server.get("/history")) == queued
    assert not (tmp_path / "out").exists()


def test_a_full_disk(bench, server, command, tmp_path, files_of_at_most):
    """A limit on the size of files stands for it: the system says so in the same way, and root is not exempt."""
    asked, queued = command(3), len(server.get("/history"))
    limit = 290  # bytes: less than a record
    running = process(asked, preexec_fn=files_of_at_most(limit))
    _, told = running.communicate(timeout=60)
    assert running.returncode == 2 and b"the disk is full. Free some space and try again." in told, told
    assert not list((tmp_path / "out").rglob("*.*")) and len(server.get("/history")) == queued
    assert main(asked) == 0 and bench.right(tmp_path / "out", 3) == 3


def test_a_host_that_goes_away_and_one_that_comes_back(bench, tmp_path, capsys):
    """Killed in the middle: after `--patience` it is one sentence; a host that is back within it is used again."""
    host = find_hosts()[0]
    with Server(host, environment(host)) as own:
        graph, rows = slow(6, tmp_path)
        asked = ["batch", graph, "--table", rows, "--set", "EmptyImage.color={c}", "--host", own.url]

        def falls(folder: Path, seconds: float, back: bool) -> tuple[int, str]:
            line, codes = [*asked, "--out", str(folder / "out"), "--patience", str(seconds)], []
            thread = threading.Thread(target=lambda: codes.append(main(line)))
            thread.start()
            wait_for(lambda: any(record.state == DONE for record in records(folder).values()))
            own.process.kill()
            own.process.wait()
            if back:
                own.revive()
            thread.join(200)
            return codes[0], capsys.readouterr().err

        code, told = falls(tmp_path / "back", 600.0, back=True)
        assert code == 0, told
        code, told = falls(tmp_path / "gone", 1.0, back=False)
        done = sum(record.state == DONE for record in records(tmp_path / "gone").values())
        said = f"sora: No ComfyUI answers at {own.url}: start it there, or name another address; "
        assert code == 2 and 1 <= done < 6
        assert told.endswith(f"{said}{done} of 6 rows are done, the same command goes on.\n"), told
    found = records(tmp_path / "back")
    assert len(found) == 6 and all(record.state == DONE for record in found.values())
    states = {record.state for record in records(tmp_path / "gone").values()}
    assert states == {DONE, QUEUED}  # what was under way is known, to be taken up by the same command


class Shaky(Client):
    """A client of a real host. Its line drops when a route is asked for, so many times; files are cut short on it."""

    def __init__(self, url: str, drops: dict[str, int], cut: bool = False):
        super().__init__(url)
        self.drops, self.cut, self.asked = drops, cut, Counter()

    def _request(self, method: str, path: str, **options):
        route = path.split("/")[1]
        self.asked[route] += 1
        if self.asked[route] <= self.drops.get(route, 0):
            raise self._gone()
        return super()._request(method, path, **options)

    def _view(self, item: dict, stream: bool = False):
        answer = super()._view(item, stream)
        if self.cut:
            answer.headers["Content-Length"] = str(int(answer.headers["Content-Length"]) + 1)
        return answer


def one_row(client: Client, bench, folder: Path, **options) -> Record:
    """The record of a single small job."""
    bench.write_jobs(folder, 1)
    (row,) = table.jobs(table.read(folder / "rows.csv"), bench.WORKFLOW, bench.SETTINGS, {}, "{row:05d}")
    worker = run.Worker(client, Store(str(folder / "out")), bench.WORKFLOW, **options)
    try:
        return worker.run(row)
    finally:
        worker.stop.set()


def test_patience_is_for_each_silence_and_not_for_all_of_them(bench, server, tmp_path):
    client = Shaky(server.url, {"view": 4})  # answers in between, when it is asked about the job
    queued = len(server.get("/history"))
    record = one_row(client, bench, tmp_path, patience=1.5, retries=0)
    assert record.state == DONE and client.asked["view"] == 5 and bench.right(tmp_path / "out", 1) == 1
    assert len(server.get("/history")) == queued + 1
    with pytest.raises(HostGone):  # one that does not end
        one_row(Shaky(server.url, {"prompt": 99, "queue": 99, "history": 99}), bench, tmp_path, patience=1.5)


def test_a_job_that_every_host_dies_of_fails_and_is_not_sent_for_ever(bench, server, tmp_path):
    client = Shaky(server.url, {"prompt": 99})  # the host is back at once, and has not got it
    record = one_row(client, bench, tmp_path, retries=1)
    assert record.state == FAILED and "The host has lost the job" in record.error
    assert client.asked["prompt"] == 2


def test_a_file_that_always_breaks_off_is_a_failure_of_the_row(bench, server, tmp_path):
    record = one_row(Shaky(server.url, {}, cut=True), bench, tmp_path, retries=1)
    assert record.state == FAILED and "broke off while it sent job_" in record.error
    assert not list((tmp_path / "out").glob("*.png"))


def test_the_end_of_a_job_may_be_told_while_its_row_forgets_it(bench, server, tmp_path):
    class Fleeting(dict):
        """What another thread removes as soon as it was found."""

        def __contains__(self, key):
            return self.pop(key, None) is not None

    class Told(Client):
        """A client whose host says what the test puts into `said`."""

        said = queue.Queue()

        def events(self, patience: float = 0.0):
            yield from iter(self.said.get, None)

    client, heard = Told(server.url), threading.Event()
    client.said.put(("status", {}))
    worker = run.Worker(client, Store(str(tmp_path / "out")), bench.WORKFLOW)
    worker._ends = Fleeting(job=threading.Event())
    worker.watchers.append(lambda kind, data: kind == "executing" and heard.set())
    client.said.put(("executing", {"node": None, "prompt_id": "job"}))
    assert heard.wait(10)  # the thread that listens goes on
    worker.stop.set()
    client.said.put(("status", {}))


def test_a_host_dies_with_whoever_started_it(tmp_path):
    host = find_hosts()[0]
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom sora_core.batch.host import Host, Server\n"
        "server = Server(Host(Path(sys.argv[1])), Path(sys.argv[2]))\nserver._launch()\n"
        "print(server.process.pid, server.folder, flush=True)\ntime.sleep(600)\n"
    )
    line = [sys.executable, "-c", script, str(host.path), str(environment(host))]
    parent = subprocess.Popen(line, cwd=PACK, stdout=subprocess.PIPE, text=True)
    pid, folder = parent.stdout.readline().split()
    parent.kill()
    parent.communicate()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}") and not os.path.exists(folder))


# ---------------------------------------------------------------------------------------------------------- clusters


def test_an_actor_that_is_killed_costs_no_row_and_doubles_none(bench, tmp_path):
    pytest.importorskip("ray")
    result = bench.on_cluster(find_hosts()[0], tmp_path, 16, bench.kill_actor)
    assert (result["exit"], result["right"], result["done"], result["ids"]) == (0, 16, 16, 16)
    assert result["done_again"] == 0 and result["hosts"] >= 2


def test_a_cluster_works_on_hosts_that_run_already(bench, server, command, tmp_path, capsys):
    pytest.importorskip("ray")
    queued = len(server.get("/history"))
    assert main(command(5, "--ray", "local", "--host", server.url)) == 0, capsys.readouterr().err
    assert bench.right(tmp_path / "out", 5) == 5 and len(server.get("/history")) == queued + 5


def test_rows_do_not_wait_for_actors_that_have_no_room(bench, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    from sora_core.batch import cluster

    host, (_, rows) = find_hosts()[0], bench.write_jobs(tmp_path, 3)
    monkeypatch.setenv("COMFYUI_PATH", str(host.path))
    monkeypatch.setenv("COMFYUI_PYTHON", str(environment(host)))
    jobs, told = table.jobs(table.read(rows), bench.WORKFLOW, bench.SETTINGS, {}, "{row:05d}"), []
    asked = (jobs, Store(str(tmp_path / "out")), bench.WORKFLOW, {"retries": 0}, told.append)
    ray.init(num_cpus=1, num_gpus=0, include_dashboard=False, logging_level="warning")
    try:
        thread = threading.Thread(target=partial(cluster.on_cluster, *asked, urls=[], actors=2))
        thread.start()
        wait_for(lambda: len(told) == 3, 300)
        thread.join(60)
        assert not thread.is_alive()
    finally:
        ray.shutdown()
    assert bench.right(tmp_path / "out", 3) == 3 and len({record.host for record in told}) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--ray", "127.0.0.1:1"], "No Ray cluster answers at '127.0.0.1:1'"),
        (["--ray", "nowhere"], "No Ray cluster answers at 'nowhere'"),
        (["--ray", "local", "--set", "EmptyImage.colour=1"], "Row 1: The node 1 (EmptyImage) has no input 'colour'"),
    ],
)
def test_a_cluster_that_is_not_there_and_one_that_is_asked_wrongly(command, capsys, more, said):
    pytest.importorskip("ray")
    assert main(command(2, *more)) == 2
    assert said in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------------------- docs


def test_the_examples_of_the_documentation_run(server, tmp_path, monkeypatch):
    """Each block of Python in docs/batch.md, on this host; workflows/ and a table lie where the page supposes them."""
    shutil.copytree(PACK / "workflows", tmp_path / "workflows")
    api = Client(server.url).load(tmp_path / "workflows" / "text_to_image.json", {"SoraSampler.steps": 1})
    (tmp_path / "text_to_image_api.json").write_text(json.dumps(api))
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)
    assert len(blocks) >= 3
    for block in blocks:
        script = block.replace("127.0.0.1:8188", server.url.removeprefix("http://"))
        line = [sys.executable, "-c", script]
        done = subprocess.run(line, env=os.environ | {"PYTHONPATH": str(PACK)}, capture_output=True, text=True)
        assert done.returncode == 0, f"{block}\n{done.stderr}"
        assert "'type': 'temp'" not in done.stdout
    with Image.open("ball.png") as image:  # what the workflow saves, not the preview of its grid
        assert image.size == (96, 96)
        assert "a red ball" in [node["inputs"].get("text") for node in json.loads(image.info["prompt"]).values()]


def test_an_error_of_a_node_is_told_by_the_client(server):
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "missing.png"}}}
    graph["2"] = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}}
    with pytest.raises(WorkflowError, match="LoadImage"):
        Client(server.url).run(graph)
