"""Training configurations: a preset device with an algorithm.

All read with `PresetIOParameters` and update with `PresetUpdateParameters`. What the devices are
fitted to stands in `presets.devices`, the papers of the algorithms in `presets.cell_factories`.

Written by tools/make_presets.py from src/presets/table.json.
"""

from functools import partial

from mho.simulator.presets.cell_factories import (
    agad,
    mixed_precision,
    tiki_taka,
    training_preset,
    ttv2,
    vector,
)
from mho.simulator.presets.compounds import PCMPresetUnitCell
from mho.simulator.presets.devices import (
    CapacitorPresetDevice,
    EcRamMOPresetDevice,
    EcRamPresetDevice,
    GokmenVlasovPresetDevice,
    IdealizedPresetDevice,
    ReRamESPresetDevice,
    ReRamSBPresetDevice,
)
from mho.simulator.tiles.analog import (
    DigitalRankUpdateRPUConfig,
    SingleRPUConfig,
    UnitCellRPUConfig,
)

# Transfers drive the fast device to its symmetry point, which must therefore read as zero.
_CentredReRamSB = partial(ReRamSBPresetDevice, subtract_symmetry_point=True)


@training_preset(ReRamESPresetDevice)
class ReRamESPreset(SingleRPUConfig):
    """One ReRAM device with exponential steps."""


@training_preset(ReRamSBPresetDevice)
class ReRamSBPreset(SingleRPUConfig):
    """One ReRAM device with soft bounds."""


@training_preset(CapacitorPresetDevice)
class CapacitorPreset(SingleRPUConfig):
    """One capacitor."""


@training_preset(EcRamPresetDevice)
class EcRamPreset(SingleRPUConfig):
    """One lithium ECRAM."""


@training_preset(EcRamMOPresetDevice)
class EcRamMOPreset(SingleRPUConfig):
    """One metal-oxide ECRAM."""


@training_preset(IdealizedPresetDevice)
class IdealizedPreset(SingleRPUConfig):
    """One idealised device."""


@training_preset(GokmenVlasovPresetDevice)
class GokmenVlasovPreset(SingleRPUConfig):
    """One device as specified by Gokmen and Vlasov."""


@training_preset(PCMPresetUnitCell)
class PCMPreset(UnitCellRPUConfig):
    """Pair of phase-change memories, refreshed."""


@training_preset(vector(ReRamESPresetDevice, 2))
class ReRamES2Preset(UnitCellRPUConfig):
    """Two ReRAM devices with exponential steps."""


@training_preset(vector(ReRamSBPresetDevice, 2))
class ReRamSB2Preset(UnitCellRPUConfig):
    """Two ReRAM devices with soft bounds."""


@training_preset(vector(CapacitorPresetDevice, 2))
class Capacitor2Preset(UnitCellRPUConfig):
    """Two capacitors."""


@training_preset(vector(EcRamPresetDevice, 2))
class EcRam2Preset(UnitCellRPUConfig):
    """Two lithium ECRAMs."""


@training_preset(vector(EcRamMOPresetDevice, 2))
class EcRamMO2Preset(UnitCellRPUConfig):
    """Two metal-oxide ECRAMs."""


@training_preset(vector(IdealizedPresetDevice, 2))
class Idealized2Preset(UnitCellRPUConfig):
    """Two idealised devices."""


@training_preset(vector(ReRamESPresetDevice, 4))
class ReRamES4Preset(UnitCellRPUConfig):
    """Four ReRAM devices with exponential steps."""


@training_preset(vector(ReRamSBPresetDevice, 4))
class ReRamSB4Preset(UnitCellRPUConfig):
    """Four ReRAM devices with soft bounds."""


@training_preset(vector(CapacitorPresetDevice, 4))
class Capacitor4Preset(UnitCellRPUConfig):
    """Four capacitors."""


@training_preset(vector(EcRamPresetDevice, 4))
class EcRam4Preset(UnitCellRPUConfig):
    """Four lithium ECRAMs."""


@training_preset(vector(EcRamMOPresetDevice, 4))
class EcRamMO4Preset(UnitCellRPUConfig):
    """Four metal-oxide ECRAMs."""


@training_preset(vector(IdealizedPresetDevice, 4))
class Idealized4Preset(UnitCellRPUConfig):
    """Four idealised devices."""


@training_preset(tiki_taka(ReRamESPresetDevice))
class TikiTakaReRamESPreset(UnitCellRPUConfig):
    """Tiki-Taka with ReRAM devices with exponential steps."""


@training_preset(tiki_taka(_CentredReRamSB))
class TikiTakaReRamSBPreset(UnitCellRPUConfig):
    """Tiki-Taka with ReRAM devices with soft bounds."""


@training_preset(tiki_taka(CapacitorPresetDevice))
class TikiTakaCapacitorPreset(UnitCellRPUConfig):
    """Tiki-Taka with capacitors."""


@training_preset(tiki_taka(EcRamPresetDevice))
class TikiTakaEcRamPreset(UnitCellRPUConfig):
    """Tiki-Taka with lithium ECRAMs."""


@training_preset(tiki_taka(EcRamMOPresetDevice))
class TikiTakaEcRamMOPreset(UnitCellRPUConfig):
    """Tiki-Taka with metal-oxide ECRAMs."""


@training_preset(tiki_taka(IdealizedPresetDevice))
class TikiTakaIdealizedPreset(UnitCellRPUConfig):
    """Tiki-Taka with idealised devices."""


@training_preset(ttv2(ReRamESPresetDevice, fast_lr=0.5, auto_granularity=1000))
class TTv2ReRamESPreset(UnitCellRPUConfig):
    """Tiki-Taka version 2 with ReRAM devices with exponential steps."""


@training_preset(ttv2(_CentredReRamSB, fast_lr=0.5, auto_granularity=1000))
class TTv2ReRamSBPreset(UnitCellRPUConfig):
    """Tiki-Taka version 2 with ReRAM devices with soft bounds."""


@training_preset(ttv2(CapacitorPresetDevice, fast_lr=0.1, auto_granularity=1000))
class TTv2CapacitorPreset(UnitCellRPUConfig):
    """Tiki-Taka version 2 with capacitors."""


@training_preset(ttv2(EcRamPresetDevice, fast_lr=0.1, auto_granularity=500), desired_bl=100)
class TTv2EcRamPreset(UnitCellRPUConfig):
    """Tiki-Taka version 2 with lithium ECRAMs."""


@training_preset(ttv2(EcRamMOPresetDevice, fast_lr=0.1, auto_granularity=500), desired_bl=100)
class TTv2EcRamMOPreset(UnitCellRPUConfig):
    """Tiki-Taka version 2 with metal-oxide ECRAMs."""


@training_preset(ttv2(IdealizedPresetDevice, fast_lr=0.1, auto_granularity=500), desired_bl=100)
class TTv2IdealizedPreset(UnitCellRPUConfig):
    """Tiki-Taka version 2 with idealised devices."""


@training_preset(ttv2(ReRamESPresetDevice, in_chop_prob=0.01, fast_lr=0.5, auto_granularity=1000))
class ChoppedTTv2ReRamESPreset(UnitCellRPUConfig):
    """Chopped Tiki-Taka version 2 with ReRAM devices with exponential steps."""


@training_preset(ttv2(_CentredReRamSB, in_chop_prob=0.01, fast_lr=0.5, auto_granularity=1000))
class ChoppedTTv2ReRamSBPreset(UnitCellRPUConfig):
    """Chopped Tiki-Taka version 2 with ReRAM devices with soft bounds."""


@training_preset(ttv2(CapacitorPresetDevice, in_chop_prob=0.01, fast_lr=0.1, auto_granularity=1000))
class ChoppedTTv2CapacitorPreset(UnitCellRPUConfig):
    """Chopped Tiki-Taka version 2 with capacitors."""


@training_preset(
    ttv2(EcRamPresetDevice, in_chop_prob=0.01, fast_lr=1.0, auto_granularity=500), desired_bl=100
)
class ChoppedTTv2EcRamPreset(UnitCellRPUConfig):
    """Chopped Tiki-Taka version 2 with lithium ECRAMs."""


@training_preset(
    ttv2(EcRamMOPresetDevice, in_chop_prob=0.001, fast_lr=0.1, auto_granularity=500), desired_bl=100
)
class ChoppedTTv2EcRamMOPreset(UnitCellRPUConfig):
    """Chopped Tiki-Taka version 2 with metal-oxide ECRAMs."""


@training_preset(
    ttv2(IdealizedPresetDevice, in_chop_prob=0.001, fast_lr=0.1, auto_granularity=500),
    desired_bl=100,
)
class ChoppedTTv2IdealizedPreset(UnitCellRPUConfig):
    """Chopped Tiki-Taka version 2 with idealised devices."""


@training_preset(
    agad(
        ReRamESPresetDevice,
        in_chop_prob=0.02,
        tail_weightening=5.0,
        fast_lr=0.5,
        auto_granularity=1000,
    )
)
class AGADReRamESPreset(UnitCellRPUConfig):
    """AGAD with ReRAM devices with exponential steps."""


@training_preset(
    agad(
        _CentredReRamSB, in_chop_prob=0.02, tail_weightening=5.0, fast_lr=0.5, auto_granularity=1000
    )
)
class AGADReRamSBPreset(UnitCellRPUConfig):
    """AGAD with ReRAM devices with soft bounds."""


@training_preset(
    agad(
        CapacitorPresetDevice,
        in_chop_prob=0.01,
        tail_weightening=20.0,
        fast_lr=0.1,
        auto_granularity=1000,
    )
)
class AGADCapacitorPreset(UnitCellRPUConfig):
    """AGAD with capacitors."""


@training_preset(
    agad(
        EcRamPresetDevice,
        in_chop_prob=0.005,
        tail_weightening=50.0,
        fast_lr=0.1,
        auto_granularity=750,
    )
)
class AGADEcRamPreset(UnitCellRPUConfig):
    """AGAD with lithium ECRAMs."""


@training_preset(
    agad(
        EcRamMOPresetDevice,
        in_chop_prob=0.005,
        tail_weightening=50.0,
        fast_lr=0.1,
        auto_granularity=500,
    ),
    desired_bl=100,
)
class AGADEcRamMOPreset(UnitCellRPUConfig):
    """AGAD with metal-oxide ECRAMs."""


@training_preset(
    agad(
        IdealizedPresetDevice,
        in_chop_prob=0.005,
        tail_weightening=50.0,
        fast_lr=0.1,
        auto_granularity=500,
    ),
    desired_bl=100,
)
class AGADIdealizedPreset(UnitCellRPUConfig):
    """AGAD with idealised devices."""


@training_preset(mixed_precision(ReRamESPresetDevice))
class MixedPrecisionReRamESPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one ReRAM device with exponential steps."""


@training_preset(mixed_precision(ReRamSBPresetDevice))
class MixedPrecisionReRamSBPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one ReRAM device with soft bounds."""


@training_preset(mixed_precision(CapacitorPresetDevice))
class MixedPrecisionCapacitorPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one capacitor."""


@training_preset(mixed_precision(EcRamPresetDevice))
class MixedPrecisionEcRamPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one lithium ECRAM."""


@training_preset(mixed_precision(EcRamMOPresetDevice))
class MixedPrecisionEcRamMOPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one metal-oxide ECRAM."""


@training_preset(mixed_precision(IdealizedPresetDevice))
class MixedPrecisionIdealizedPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one idealised device."""


@training_preset(mixed_precision(GokmenVlasovPresetDevice))
class MixedPrecisionGokmenVlasovPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with one device as specified by Gokmen and Vlasov."""


@training_preset(mixed_precision(PCMPresetUnitCell))
class MixedPrecisionPCMPreset(DigitalRankUpdateRPUConfig):
    """Mixed precision with a pair of phase-change memories."""
