"""Base of every configuration object: comparison, printing, checking and transport."""

from typing import TYPE_CHECKING, Any

from mho.simulator.parameters import checking, json_text, printing, watching, wire

if TYPE_CHECKING:
    from typing_extensions import Self


class ConfigBase:
    """Base of the configuration dataclasses.

    Subclasses are dataclasses: they compare by value, are unhashable, and copy and pickle as any
    object does. A subclass that is to be read from JSON text needs
    [`register_config_class`][mho.simulator.parameters.registry.register_config_class].

    Numbers of NumPy become those of Python, and None the choice `NONE` of a field that has one. The
    configuration of a tile tells it of every change, see `watching`.
    """

    # Not in `__dict__`: it is no field, and copies belong to nobody.
    __slots__ = ("_owners",)

    def __setattr__(self, name: str, value: Any) -> None:
        """Assign a field; a tile that the configuration belongs to checks and follows it."""
        value = watching.plain(self, name, value)
        if getattr(self, "_owners", ()):
            watching.assign(self, name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        """Remove an attribute; a tile that the configuration belongs to checks and follows it."""
        if getattr(self, "_owners", ()) and name in vars(self):
            watching.assign(self, name, watching.MISSING)
        else:
            object.__delattr__(self, name)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied and pickled: the fields."""
        return dict(vars(self))

    def __str__(self) -> str:
        """Return the constructor call with the values that differ from their defaults."""
        return printing.format_config(self)

    def check(self, path: str = "") -> None:
        """Check names and types of all values, nested ones included.

        Args:
            path: Prefix of the field names in messages, such as `"forward"`.

        Raises:
            ConfigError: An attribute is not a field, or a value has the wrong type or is not a
                number.
        """
        checking.check(self, path)

    def to_wire(self, path: str = "") -> dict[str, Any]:
        """Return the checked values in the form the core reads.

        Enums become their values, nested objects dictionaries, and an infinite limit becomes None.

        Args:
            path: Prefix of the field names in messages.

        Raises:
            ConfigError: As [`check`][mho.simulator.parameters.config_base.ConfigBase.check], or a
                value is minus infinity or beyond 64 bits.
        """
        self.check(path)
        return wire.fields_to_wire(self, path)

    def to_json(self) -> str:
        """Return the object as JSON text that `from_json` restores, class included.

        Raises:
            ConfigError: A contained class is not registered or a value has no JSON form.
        """
        return json_text.dumps(self)

    @classmethod
    def from_json(cls, text: str) -> "Self":
        """Return the object described by JSON text; nothing in the text is executed.

        Args:
            text: Output of `to_json` of this class or a subclass.

        Raises:
            ConfigError: The text is not valid, names an unknown class or field, or describes
                another class.
        """
        return json_text.loads(text, cls)
