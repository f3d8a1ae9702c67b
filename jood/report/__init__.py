"""Tables and pictures of what detectors did on a benchmark."""
