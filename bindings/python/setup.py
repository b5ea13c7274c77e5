"""A package with the library inside is made for one platform, one without it for all of them."""

import pathlib

from setuptools import Distribution, setup

BUNDLED = any((pathlib.Path(__file__).parent / "src" / "conpool" / "_lib").glob("lib*"))


class WithLibrary(Distribution):
    """It is installed where compiled modules are."""

    def has_ext_modules(self):
        return True


def for_any_python():
    try:
        from setuptools.command.bdist_wheel import bdist_wheel
    except ImportError:  # before setuptools 70.1
        from wheel.bdist_wheel import bdist_wheel

    class AnyPython(bdist_wheel):
        """No module is compiled for a certain Python: the library is opened by ctypes."""

        def get_tag(self):
            return "py3", "none", super().get_tag()[2]

    return AnyPython


if BUNDLED:
    setup(distclass=WithLibrary, cmdclass={"bdist_wheel": for_any_python()})
else:
    setup()
