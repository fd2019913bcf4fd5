"""Reinforcement learning on Pokémon Red, TorchRL-native."""
