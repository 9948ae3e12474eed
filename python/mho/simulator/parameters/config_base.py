"""Base of every configuration object: comparison, printing, checking and transport."""

from typing import TYPE_CHECKING, Any

from mho.simulator.parameters import checking, json_text, printing, wire

if TYPE_CHECKING:
    from typing_extensions import Self


class ConfigBase:
    """Base of the configuration dataclasses.

    Subclasses are dataclasses: they compare by value, are unhashable, and copy and pickle as any
    object does. A subclass that is to be read from JSON text needs
    [`register_config_class`][mho.simulator.parameters.registry.register_config_class].
    """

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
