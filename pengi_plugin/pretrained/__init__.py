"""Folders that hold a whole model: located, written, loaded.

Their ``hyperparams.yaml`` names ``pengi_plugin.pretrained.FolderPretrainer``:
this path is part of the file format.
"""

from pengi_plugin.pretrained.folder import FolderPretrainer

__all__ = ["FolderPretrainer"]
