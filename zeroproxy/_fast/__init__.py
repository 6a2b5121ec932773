"""Private. The compiled data plane; no C API is promised. Start reading at engine/engine.pyx.

This file imports nothing on purpose. Importing any module of this package runs it first,
and a floor-0 module must not pull floor 3 in with it.
"""
