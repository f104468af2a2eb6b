"""From files of conversations to tokenised samples that lie in a file. Knows no model's weights."""
