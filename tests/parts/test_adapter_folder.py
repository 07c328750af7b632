"""PEFT folders: peft's recorded ones read, ours written and read, and files that are broken, hostile or of another model."""

import importlib.util
import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from parts.peft_adapter import make
from torchstone.core.errors import UsageError
from torchstone.parts import LoRA, add_lora, load_adapter, save_adapter

HERE = Path(make.__file__).parent
OUTPUTS = json.loads((HERE / "outputs.json").read_text())
KEY = "base_model.model.layers.0.q_proj.lora_A.weight"


def wanted(name):
    return torch.tensor(OUTPUTS[name], dtype=torch.float64)


def close(one, other):
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", make.FOLDERS)
def test_folders_that_peft_wrote_give_peft_outputs(name, tmp_path):
    model = load_adapter(make.base().eval(), HERE / name)
    close(model(make.inputs()), wanted(name))
    saved = save_adapter(model, tmp_path / "again")
    close(load_adapter(make.base().eval(), saved)(make.inputs()), wanted(name))
    theirs, ours = load_file(HERE / name / "adapter_model.safetensors"), load_file(saved / "adapter_model.safetensors")
    assert theirs.keys() == ours.keys() and all(torch.equal(theirs[key], ours[key]) for key in ours)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("peft") is None, reason="peft is not installed: it needs transformers and accelerate")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", make.FOLDERS)
def test_peft_loads_what_we_save_and_we_load_what_peft_saves(name, tmp_path):
    import peft

    theirs = peft.get_peft_model(make.base(), peft.LoraConfig(**make.FOLDERS[name], init_lora_weights=False)).eval()
    theirs.save_pretrained(tmp_path / "theirs")
    ours = load_adapter(make.base().eval(), tmp_path / "theirs")
    close(ours(make.inputs()), theirs(make.inputs()))
    save_adapter(ours, tmp_path / "ours")
    again = peft.PeftModel.from_pretrained(make.base(), tmp_path / "ours").eval()
    close(again(make.inputs()), theirs(make.inputs()))


def adapter(tmp_path):
    """A copy of peft's plain folder, to be broken."""
    return Path(shutil.copytree(HERE / "plain", tmp_path / "adapter"))


def rewritten(folder, **settings):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def refused(folder, model=None):
    model = make.base() if model is None else model
    before = {key: one.clone() for key, one in model.state_dict().items()}
    with pytest.raises(UsageError) as error:
        load_adapter(model, folder)
    assert not any(isinstance(one, LoRA) for one in model.modules()) and all(one.requires_grad for one in model.parameters())
    assert before.keys() == model.state_dict().keys() and all(torch.equal(one, before[key]) for key, one in model.state_dict().items())
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"use_dora": True}, "asks for use_dora = True, which is not read"),
        ({"modules_to_save": ["head"]}, "asks for modules_to_save = ['head'], which is not read"),
        ({"bias": "lora_only"}, "asks for bias = 'lora_only', which is not read"),
        ({"init_lora_weights": "pissa"}, "asks for init_lora_weights = 'pissa', which is not read"),
        ({"a_feature_of_next_year": {"on": 1}}, "asks for a_feature_of_next_year"),
        ({"peft_type": "IA3"}, "is of peft_type 'IA3'; only LORA adapters are read"),
        ({"r": None}, "does not say r; save the adapter again"),
        ({"r": "8"}, "an adapter's rank is a whole number of 1 or more; '8' came"),
        ({"r": 10**12}, "lora_A.weight is (2, 6), not (1000000000000, 6)"),
        ({"lora_alpha": "x"}, "an adapter's alpha is a finite number; 'x' came"),
        ({"target_modules": {"q": 1}}, "target_modules is a pattern or a list of module names"),
        ({"target_modules": ["nothing"]}, "target_modules 'nothing' name no module of this Net"),
        ({"target_modules": ["q_proj"]}, "it has factors for 'layers.0.v_proj', which the configuration's target_modules do not mean here (and 1 more"),
        ({"target_modules": ["q_proj", "v_proj", "head"]}, "base_model.model.head.lora_A.weight is missing (and 1 more"),
        ({"target_modules": ["q_proj", "v_proj", "layers"]}, "layers is a ModuleList, not an nn.Linear"),
        ({"rank_pattern": [1]}, "rank_pattern has one number for each pattern of module names; [1] came"),
        ({"rank_pattern": {"(": 1}}, "is no pattern of module names"),
        ({"layers_to_transform": "top"}, "layers_to_transform is the number of a layer or a list of them; 'top' came"),
    ],
)
def test_settings_that_are_not_ours_are_refused(tmp_path, settings, said):
    folder = adapter(tmp_path)
    rewritten(folder, **settings)
    assert said in refused(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop(KEY), f"{KEY} is missing"),
        (lambda t: t.update({KEY: torch.zeros(3, 6)}), f"{KEY} is (3, 6), not (2, 6)"),
        (lambda t: t.update({KEY: torch.zeros(2)}), f"{KEY} is a matrix of 16, 32 or 64 bit floating-point numbers; (2,) of torch.float32 came"),
        (lambda t: t.update({KEY: torch.zeros(2, 6, dtype=torch.int8)}), "(2, 6) of torch.int8 came"),
        (lambda t: t.update({"base_model.model.layers.9.q_proj.lora_A.weight": torch.zeros(2, 6)}), "it has factors for 'layers.9.q_proj'"),
        (lambda t: t.update({"base_model.model.head.weight": torch.zeros(2, 6)}), "has a tensor 'base_model.model.head.weight'"),
        (lambda t: t.clear(), "is missing (and"),
    ],
)
def test_factors_that_do_not_fit_are_refused(tmp_path, change, said):
    folder = adapter(tmp_path)
    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors")
    assert said in refused(folder)


def test_another_model_is_refused():
    assert "name no module of this Sequential; its linear layers are 0" in refused(HERE / "plain", nn.Sequential(nn.Linear(6, 6)))


class Hostile:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_a_hostile_pickle_is_not_run(tmp_path):
    folder = adapter(tmp_path)
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({KEY: Hostile(tmp_path / "trace")}))
    assert "is a pickle of more than tensors" in refused(folder)
    assert not (tmp_path / "trace").exists()
    pickle.loads((folder / "adapter_model.bin").read_bytes())
    assert (tmp_path / "trace").exists()  # it would have left one
    torch.save([1, 2], folder / "adapter_model.bin")
    assert "holds a list that is no dictionary of tensors" in refused(folder)


def test_a_pickle_of_tensors_alone_is_read(tmp_path):
    folder = adapter(tmp_path)
    torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    close(load_adapter(make.base().eval(), folder)(make.inputs()), wanted("plain"))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("adapter_config.json", b"{", "cannot be read as JSON"),
        ("adapter_config.json", b"[1]", "holds a list, not an object of settings"),
        ("adapter_config.json", b"\xff\xfe", "cannot be read as JSON"),
        ("adapter_config.json", b"[" * 100_000, "cannot be read as JSON"),
        ("adapter_config.json", None, "is missing; give the folder that peft's save_pretrained or save_adapter wrote"),
        ("adapter_model.safetensors", b"", "cannot be read as safetensors"),
        ("adapter_model.safetensors", b"\xff" * 64, "cannot be read as safetensors"),
        ("adapter_model.safetensors", None, "holds no adapter_model.safetensors"),
    ],
)
def test_broken_files_are_refused(tmp_path, name, content, said):
    folder = adapter(tmp_path)
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert said in refused(folder)


def test_what_is_no_folder_is_refused(tmp_path):
    assert "is no folder" in refused(tmp_path / "nowhere")


def test_saving_replaces_the_adapter_and_leaves_other_files(tmp_path):
    folder = tmp_path / "run" / "adapter"
    model = load_adapter(make.base(), HERE / "plain")
    save_adapter(model, folder, base_model_name_or_path="net")
    (folder / "notes.txt").write_text("mine")
    (folder / "inside").mkdir()
    (folder / "inside" / "adapter_config.json").write_text("mine too")
    save_adapter(load_adapter(make.base(), HERE / "patterns"), folder)
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "inside" / "adapter_config.json").read_text() == "mine too"
    close(load_adapter(make.base().eval(), folder)(make.inputs()), wanted("patterns"))
    assert [one.name for one in (tmp_path / "run").iterdir()] == ["adapter"], "nothing temporary is left"


def test_a_save_that_fails_leaves_the_old_adapter(tmp_path, monkeypatch):
    folder = save_adapter(load_adapter(make.base(), HERE / "plain"), tmp_path / "adapter")
    before = {one.name: one.read_bytes() for one in folder.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchstone.parts.adaptation.folder.save_file", full)
    with pytest.raises(UsageError, match="No space left on device"):
        save_adapter(load_adapter(make.base(), HERE / "patterns"), folder)
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == before
    assert [one.name for one in tmp_path.iterdir()] == ["adapter"]


def test_the_working_directory_and_a_link_stay_what_they_are(tmp_path, monkeypatch):
    model = load_adapter(make.base(), HERE / "plain")
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    link.symlink_to(there)
    monkeypatch.chdir(there)
    save_adapter(model, ".")
    assert {one.name for one in Path.cwd().iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    save_adapter(load_adapter(make.base(), HERE / "patterns"), link)
    assert link.is_symlink()
    close(load_adapter(make.base().eval(), there)(make.inputs()), wanted("patterns"))


def test_a_first_save_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("torchstone.parts.adaptation.folder.save_file", full)
    with pytest.raises(UsageError, match="No space left on device"):
        save_adapter(load_adapter(make.base(), HERE / "plain"), tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_a_pickle_of_before_is_gone_after_saving(tmp_path):
    folder = adapter(tmp_path)
    (folder / "adapter_model.bin").write_bytes(b"old")
    save_adapter(load_adapter(make.base(), HERE / "plain"), folder)
    assert sorted(one.name for one in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_eight_bit_factors_are_refused_and_an_orthogonal_start_is_read(tmp_path):
    folder = adapter(tmp_path)
    rewritten(folder, init_lora_weights="orthogonal")
    close(load_adapter(make.base().eval(), folder)(make.inputs()), wanted("plain"))
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({key: one.to(torch.float8_e4m3fn) for key, one in tensors.items()}, folder / "adapter_model.safetensors")
    assert "of 16, 32 or 64 bit floating-point numbers; " in refused(folder)


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "adapter").write_text("a file")
    with pytest.raises(UsageError, match="cannot be written"):
        save_adapter(load_adapter(make.base(), HERE / "plain"), tmp_path / "adapter")
    assert (tmp_path / "adapter").read_text() == "a file"


def test_adapters_that_no_settings_name_are_saved_by_their_own_numbers(tmp_path):
    model = make.base()
    model.head = LoRA(model.head, 3, 7, init_lora_weights=False)
    model.layers[0].down = LoRA(model.layers[0].down, 2, 5, init_lora_weights=False)
    again = load_adapter(make.base(), save_adapter(model, tmp_path / "a"))
    close(again(make.inputs()), model(make.inputs()))
    with pytest.raises(UsageError, match="has no adapter"):
        save_adapter(make.base(), tmp_path / "b")


def test_layers_by_number_are_saved_by_name(tmp_path):
    model = add_lora(make.base(), ["q_proj"], layers_to_transform=[1], init_lora_weights=False)
    folder = save_adapter(model, tmp_path / "a")
    assert json.loads((folder / "adapter_config.json").read_text())["target_modules"] == ["layers.1.q_proj"]
    close(load_adapter(make.base(), folder)(make.inputs()), model(make.inputs()))
