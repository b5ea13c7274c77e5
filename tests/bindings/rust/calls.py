"""Counts which exported functions a program calls: a library that is preloaded and jumps on to the real one."""

import pathlib
import platform
import subprocess

from processes import need

ROOT = pathlib.Path(__file__).resolve().parents[3]

SUPPORT = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const char* const call_names[];
extern void* call_targets[];
extern unsigned char call_marks[];

static void missing(void) { abort(); }

__attribute__((constructor)) static void find(void) {
  for (int i = 0; call_names[i] != 0; ++i) {
    call_targets[i] = dlsym(RTLD_NEXT, call_names[i]);
    if (call_targets[i] == 0) call_targets[i] = (void*)missing;
  }
}

__attribute__((destructor)) static void tell(void) {
  const char* path = getenv("CONPOOL_CALLS");
  int fd = path == 0 ? -1 : open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  for (int i = 0; fd >= 0 && call_names[i] != 0; ++i) {
    char line[128];
    if (!call_marks[i] || strlen(call_names[i]) > 120) continue;
    strcpy(line, call_names[i]);
    strcat(line, "\n");
    if (write(fd, line, strlen(line)) < 0) return;
  }
  if (fd >= 0) close(fd);
}
"""


def symbols():
    return (ROOT / "capi" / "symbols.txt").read_text().split()


def build(directory):
    """The library to preload, or None where its assembler is not this machine's."""
    if platform.machine() != "x86_64":
        return None
    names = symbols()
    text, data = [".text"], [".data", ".globl call_targets", "call_targets:", f".skip {8 * len(names)}",
                             ".globl call_marks", "call_marks:", f".skip {len(names)}", ".balign 8",
                             ".globl call_names", "call_names:"]
    strings = ['.section .rodata']
    for number, name in enumerate(names):
        text += [f".globl {name}", f".type {name},@function", f"{name}:",
                 "mov call_marks@GOTPCREL(%rip), %r11", f"movb $1, {number}(%r11)",
                 "mov call_targets@GOTPCREL(%rip), %r11", f"jmp *{8 * number}(%r11)"]
        data.append(f".quad name{number}")
        strings.append(f'name{number}: .asciz "{name}"')
    source, support = directory / "calls.s", directory / "calls.c"
    source.write_text("\n".join([*text, *data, ".quad 0", *strings, '.section .note.GNU-stack,"",@progbits', ""]))
    support.write_text(SUPPORT)
    library = directory / "libcalls.so"
    done = subprocess.run([need("cc"), "-shared", "-fPIC", "-O1", "-o", library, source, support, "-ldl"],
                          capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"cc: {done.stderr}")
    return library


def called(path):
    """The functions that the processes of a run told of."""
    return set(path.read_text().split()) if path.exists() else set()
