"""Stands in for ComfyUI's module of this name: what an output gives to stop the nodes that are connected to it."""


class ExecutionBlocker:
    def __init__(self, message):
        self.message = message
