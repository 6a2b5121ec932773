"""Coverage-guided fuzzing of the data plane; `make fuzz`. README.md says how."""
