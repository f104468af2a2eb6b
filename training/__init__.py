"""Fine-tuning on conversations: full, LoRA, QLoRA and P-Tuning v2, on one device or several."""
