"""A comment beside the tag of a list's item took the item its tag.

Hyperparameters are read, resolved and written back before objects are made.
ruamel writes a comment that stood before an item, or between its tag and its
first key, in another place, and the tag and the key then stand on one line:
SpecAugment's parts became dictionaries. No YAML file that comes with the
package has such a comment: every item is resolved with the tag it has.
"""

from pathlib import Path

import pytest
import ruamel.yaml

from speechbrain_acom.hparams import resolve_hparams

ROOT = Path(__file__).parents[2]
# Settings of studies are no part of a recipe.
FRAGMENTS = sorted(
    path
    for path in ROOT.glob("hparams/**/*.yaml")
    if path.parent.name != "studies"
)
FILES = FRAGMENTS + sorted(ROOT.glob("recipes/*/**/hparams/*.yaml"))


def item_tags(node, place=()):
    """Tags of the objects that stand in lists, by where they stand."""
    is_list = isinstance(node, list)
    pairs = enumerate(node) if is_list else ()
    pairs = node.items() if isinstance(node, dict) else pairs
    found = {}
    for key, child in pairs:
        tag = getattr(getattr(child, "tag", None), "value", None) or ""
        if is_list and tag.startswith(("!new:", "!name:")):
            found[(*place, key)] = tag
        found |= item_tags(child, (*place, key))
    return found


def tags_in(text, place=()):
    return item_tags(ruamel.yaml.YAML().load(text), place)


def resolved(path, folder):
    if path in FRAGMENTS:
        recipe = folder / "recipe.yaml"
        recipe.write_text(f"part: !include:{path}\n")
        return resolve_hparams(recipe)
    overrides = {"data_folder": "corpus"}
    if path.stem.endswith("_rvq"):
        overrides["pretrained_path"] = "model"
    return resolve_hparams(path, overrides)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_items_keep_their_tags(path, tmp_path):
    place = ("part",) if path in FRAGMENTS else ()
    written = tags_in(path.read_text(), place)
    text = resolved(path, tmp_path)
    (tmp_path / "hyperparams.yaml").write_text(text)
    # An exported model's hyperparameters are resolved a second time.
    for found in (text, resolve_hparams(tmp_path / "hyperparams.yaml")):
        assert written.items() <= tags_in(found).items()


def test_items_with_tags_are_found():
    path = ROOT / "hparams" / "augmentations" / "specaugment.yaml"
    assert len(tags_in(path.read_text())) == 2
