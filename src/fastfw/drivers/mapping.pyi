from typing_extensions import Buffer

class Mapping(Buffer):
    """`size` bytes of the open file `descriptor`, read-only, as a buffer.

    The size is fixed when the mapping is made: what is appended later is not seen. Where the file shrinks, the lost
    pages read as zeros and `lost` turns true. The mapping lasts until the last buffer taken from it is gone.
    """

    def __new__(cls, descriptor: int, size: int) -> Mapping: ...
    @property
    def lost(self) -> bool: ...
