"""Runtimes: what carries out a submitted pipeline. One module each; this build has the embedded one."""
