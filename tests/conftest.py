"""What holds for all tests."""

from hypothesis import settings

# Tests do not depend on time: an example may take as long as kernels take to compile.
settings.register_profile("mergesketch", deadline=None)
settings.load_profile("mergesketch")
