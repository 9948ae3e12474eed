"""Parts of a table of hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mho.documented import documented
from mho.utils.hardware_cost.adc_envelope import envelope_quantity
from mho.utils.hardware_cost.quantity import Quantity


@documented
@dataclass(frozen=True)
class Mode:
    """One way to compute a product on a tile."""

    energy: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a product on a full tile, all passes included."""

    latency: Quantity | None = field(default=None, metadata={"unit": "s"})
    """Time of a product, all passes included."""

    pass_latency: Quantity | None = field(default=None, metadata={"unit": "s"})
    """Time of one pass, instead of `latency`."""

    interval: Quantity | None = field(default=None, metadata={"unit": "s"})
    """Time between the starts of two products; by default `latency`."""

    gating: Quantity | None = field(default=None, metadata={"unit": ""})
    """Share of the energy that is drawn whatever of the tile is used, 0 to 1; 1 by default."""

    input_bits: int | None = None
    """Bits of the inputs, if the table has modes for several."""

    output_bits: int | None = None
    """Bits of the outputs."""


@documented
@dataclass(frozen=True)
class TilePart:
    """Geometry of a tile and its modes."""

    rows: int | None = None
    """Input lines; None takes the largest tile that the mapping of a layer allows."""

    cols: int | None = None
    """Columns; None in the same way."""

    devices_per_weight: int | None = None
    """Devices of a weight; None asks the configuration of the layer."""

    weight_bits: int | None = None
    """Bits of a weight that is sliced over several columns."""

    cell_bits: int | None = None
    """Bits of a slice; with `weight_bits` a weight has `ceil(weight_bits / cell_bits)` columns."""

    input_bits: int | None = None
    """Bits of the input converter."""

    output_bits: int | None = None
    """Bits of the output converter."""

    dac_bits: int | None = None
    """Bits of an input in one pass, if passes are bit-serial."""

    shared_dac: bool = False
    """Whether tiles side by side share the converted inputs."""

    converts_all_columns: bool = False
    """Whether unused columns are converted as well."""

    area: Quantity | None = field(default=None, metadata={"unit": "m2"})
    """Area of a tile with everything that belongs to it."""

    rest_area: Quantity | None = field(default=None, metadata={"unit": "m2"})
    """Area of a tile without cells and converters, instead of `area`."""

    mode: Mapping[str, Mode] = field(default_factory=dict, metadata={"named": Mode})
    """Modes by name."""


@documented
@dataclass(frozen=True)
class ConverterPart:
    """Input or output converters, cells, or sample-and-hold stages."""

    energy: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a conversion, of the read of a cell, or of a sample."""

    area: Quantity | None = field(default=None, metadata={"unit": "m2"})
    """Area of one."""

    share: int | None = None
    """Columns that share a converter; 1 by default."""

    model: str = ""
    """`"adc_envelope"` takes the energy from a bound of published converters."""

    enob: Quantity | None = field(default=None, metadata={"unit": ""})
    """Effective bits for the model, where the configuration of a layer does not say."""

    rate: Quantity | None = field(default=None, metadata={"unit": "Hz"})
    """Conversions per second for the model."""

    margin: Quantity | None = field(default=None, metadata={"unit": ""})
    """Factor on the bound; 10 by default, between 5 and 50."""

    def energy_for(self, bits: int | None) -> Quantity | None:
        """Return the energy of a conversion, None if it is not known.

        Args:
            bits: Bits that a layer asks for, None if it does not say; only a model follows them.
        """
        if not self.model:
            return self.energy
        enob = self.enob.value if bits is None and self.enob is not None else bits
        if enob is None or self.rate is None:
            return None
        return envelope_quantity(float(enob), self.rate.value, self.margin)


@documented
@dataclass(frozen=True)
class DigitalPart:
    """Digital units."""

    add_int8: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of an addition of 8 bits."""

    add_int32: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of an addition of 32 bits."""

    add_fp16: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of an addition in half precision."""

    add_fp32: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of an addition in single precision."""

    mul_int8: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a product of 8 bits."""

    mul_int32: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a product of 32 bits."""

    mul_fp16: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a product in half precision."""

    mul_fp32: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a product in single precision."""

    scale: Quantity | None = field(default=None, metadata={"unit": ""})
    """All these energies are divided by it: how much better a newer process is."""

    rate: Quantity | None = field(default=None, metadata={"unit": "Hz"})
    """Operations per second of a unit."""

    units: int | None = None
    """Number of units; 1 by default."""

    included: bool = False
    """Whether the energy of a product includes what is digital around the tiles."""


@documented
@dataclass(frozen=True)
class MemoryPart:
    """Buffers of inputs and outputs."""

    read_byte: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of an access to a byte."""

    bandwidth: Quantity | None = field(default=None, metadata={"unit": "B/s"})
    """Bytes per second."""


@documented
@dataclass(frozen=True)
class NetworkPart:
    """What carries inputs and outputs between tiles."""

    hop_byte: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a byte over one hop."""

    hops: Quantity | None = field(default=None, metadata={"unit": ""})
    """Hops of a byte; 1 by default."""


@documented
@dataclass(frozen=True)
class ChipPart:
    """A chip of several tiles."""

    tiles: int | None = None
    """Number of tiles."""

    area: Quantity | None = field(default=None, metadata={"unit": "m2"})
    """Area beside that of the tiles."""

    static_power: Quantity | None = field(default=None, metadata={"unit": "W"})
    """Power that is drawn all the time."""


@documented
@dataclass(frozen=True)
class WritePart:
    """Programming of weights."""

    time: Quantity | None = field(default=None, metadata={"unit": "s"})
    """Time to write one weight."""

    energy: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy to write one weight."""


@documented
@dataclass(frozen=True)
class UpdatePart:
    """Training by pulses."""

    slot: Quantity | None = field(default=None, metadata={"unit": "s"})
    """Time of a slot of the pulse trains."""

    slot_energy: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a slot, whatever is in it."""

    line: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of driving a line for one pulse."""

    pulse: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy of a coincidence; by default from voltage, conductance and width."""

    half: Quantity | None = field(default=None, metadata={"unit": "J"})
    """Energy in a half-selected device; by default a quarter of `pulse`, half the voltage."""

    voltage: Quantity | None = field(default=None, metadata={"unit": "V"})
    """Voltage of a coincidence."""

    conductance: Quantity | None = field(default=None, metadata={"unit": "S"})
    """Conductance of a device."""

    width: Quantity | None = field(default=None, metadata={"unit": "s"})
    """Duration of a pulse."""

    def pulse_energy(self) -> Quantity | None:
        """Return the energy of a coincidence, `V² G t` if it is not given, None if not known."""
        if self.pulse is not None:
            return self.pulse
        if self.voltage is None or self.conductance is None or self.width is None:
            return None
        power = self.voltage.times(self.voltage, "").times(self.conductance, "W")
        return power.times(self.width, "J")

    def half_energy(self) -> Quantity | None:
        """Return the energy in a half-selected device, None if it is not known."""
        pulse = self.pulse_energy()
        return self.half if self.half is not None or pulse is None else pulse * 0.25
