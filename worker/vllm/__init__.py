"""An engine that is a vLLM server of this worker's own: started, asked and ended by it."""
