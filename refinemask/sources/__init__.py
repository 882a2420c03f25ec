"""Where images come from: files, folders, lists of paths, arrays, video files, cameras and streams.

:func:`refinemask.sources.words.source_of` makes a source of what a command line gives,
:class:`refinemask.sources.given.GivenImages` of what Python code gives. Either is a
:class:`refinemask.sources.source.Source` of items (:class:`refinemask.sources.item.Item`). Imports no PyTorch.
"""
