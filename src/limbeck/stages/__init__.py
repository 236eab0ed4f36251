"""Stages made: models and knowledge, each once; what is damaged is made again."""
