"""What Hugging Face's tokenizers makes of texts, by two small byte-level vocabularies: for test/runtime/generate.test.ts.

    pip install tokenizers; python test/figures/make/byte_pairs.py
"""
import json
from pathlib import Path
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = Path(__file__).parents[3] / "README.md"
LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXTS = [
    "A model compiles to kernels.",
    "  two blanks,\n\nlines and\ttabs  ",
    "It's we'LL They'Ve 12345 3.14e-5 #$%&()",
    "Grüße, naïve café: 日本語 🎉👩‍👩‍👧 \u00a0end",
    "<|endoftext|>after<|endoftext|> x",
    "",
]


def trained(splits, prefix, normalizer=None):
    t = Tokenizer(models.BPE())
    if normalizer:
        t.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=splits is None)
    t.pre_tokenizer = level if splits is None else pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(splits), behavior="isolated"), level,
    ])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    t.train([str(CORPUS)], trainer)
    ids = [{"text": x, "ids": t.encode(x).ids} for x in TEXTS]
    return {"file": json.loads(t.to_str()), "texts": ids}


out = {"gpt2": trained(None, False), "llama3": trained(LLAMA, False, normalizers.NFC()), "prefix": trained(None, True)}
(Path(__file__).parents[1] / "tokenizers.golden.json").write_text(json.dumps(out, separators=(",", ":")))
