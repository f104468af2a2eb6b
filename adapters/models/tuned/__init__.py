"""Reads what fine-tuning made of a model: LoRA and prefixes (P-Tuning v2)."""
