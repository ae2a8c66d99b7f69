"""Which embedder the settings name, and what a new one takes."""

import sys

import numpy as np

from gem_assets import embedding
from gem_assets.embedding import embedder
from gem_assets.embedding.config import METHODS, EmbeddingConfig
from gem_assets.embedding.embedder import fit_embedder, load_embedder

#: An embedder: this one file, its test, and its name in `METHODS`.
INVENTED = """
import numpy as np
from gem_assets.embedding.base import load_fitted, save_fitted

class LengthEmbedder:
    dimension = 2

    def __init__(self, config, longest):
        self.config, self.longest = config, longest

    @classmethod
    def fit(cls, texts, config, progress=None):
        return cls(config, np.array(max(map(len, texts))))

    def transform(self, texts):
        angles = np.array([len(text) for text in texts]) / self.longest
        return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)

    def save(self, directory):
        save_fitted(directory, "length.safetensors", self.config, {"longest": self.longest})

    @classmethod
    def load(cls, directory):
        config, arrays = load_fitted(directory, "length.safetensors")
        return cls(config, arrays["longest"])

EMBEDDER = LengthEmbedder
"""


def test_a_module_and_its_name_are_all_that_a_new_embedder_takes(tmp_path, monkeypatch):
    (tmp_path / "text_length.py").write_text(INVENTED)
    monkeypatch.setattr(embedding, "__path__", [*embedding.__path__, str(tmp_path)])
    monkeypatch.setattr(embedder, "METHODS", (*METHODS, "text-length"))
    # its line in `Method`, which a test cannot write
    field = EmbeddingConfig.model_fields["method"]
    config_type = type("Config", (EmbeddingConfig,), {"__annotations__": {"method": str}, "method": field})
    monkeypatch.setattr("gem_assets.embedding.base.EmbeddingConfig", config_type)
    try:
        fitted = fit_embedder(["a", "four"], config_type(method="text-length"))
        (tmp_path / "space").mkdir()
        fitted.save(tmp_path / "space")
        opened = load_embedder(tmp_path / "space")
    finally:
        sys.modules.pop("gem_assets.embedding.text_length", None)
    assert type(opened).__name__ == "LengthEmbedder"
    assert np.array_equal(opened.transform(["ab", "four"]), fitted.transform(["ab", "four"]))
    assert np.allclose(opened.transform(["four"]), [[np.cos(1), np.sin(1)]])


def test_every_method_that_the_settings_allow_has_a_module():
    for method in METHODS:
        assert callable(embedder._embedder(method).fit), method
        assert callable(embedder._embedder(method).load), method
