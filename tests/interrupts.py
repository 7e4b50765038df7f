"""Ctrl-C at every moment: a signal that comes between two bytecodes of Python, which is where Python answers it."""

import gc
import sys


def interrupt():
    raise KeyboardInterrupt


def interrupted(action, moment, interrupt=interrupt):
    """Whether action() was interrupted, before the bytecode of this number; 0 lets it run to its end."""
    came = []

    def trace(frame, event, arg):
        frame.f_trace_opcodes = True
        if event == "opcode":
            came.append(None)
            if len(came) == moment:
                interrupt()
        return trace

    before = sys.gettrace()
    gc.disable()  # who listens to the collector would take the interrupt
    sys.settrace(trace)
    try:
        action()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
        gc.enable()
    return False
