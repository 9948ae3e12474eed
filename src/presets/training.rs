//! Training configurations: a preset device with an algorithm.
//!
//! All read with [`preset_io_parameters`](super::preset_io_parameters) and update with
//! [`preset_update_parameters`](super::preset_update_parameters).
//!
//! Written by tools/make_presets.py from src/presets/table.json.

use super::cells::{
    Buffered, agad, cells, centred, mixed_precision, pcm_unit_cell, single, tiki_taka, ttv2, vector,
};
use super::devices::{
    capacitor_device, ec_ram_device, ec_ram_mo_device, gokmen_vlasov_device, idealized_device,
    re_ram_es_device, re_ram_sb_device,
};
use crate::config::TileConfig;
use crate::unit_cells::CellTileConfig;

/// One ReRAM device with exponential steps.
#[must_use]
pub fn re_ram_es() -> TileConfig {
    single(re_ram_es_device(), 31)
}

/// One ReRAM device with soft bounds.
#[must_use]
pub fn re_ram_sb() -> TileConfig {
    single(re_ram_sb_device(), 31)
}

/// One capacitor.
#[must_use]
pub fn capacitor() -> TileConfig {
    single(capacitor_device(), 31)
}

/// One lithium ECRAM.
#[must_use]
pub fn ec_ram() -> TileConfig {
    single(ec_ram_device(), 31)
}

/// One metal-oxide ECRAM.
#[must_use]
pub fn ec_ram_mo() -> TileConfig {
    single(ec_ram_mo_device(), 31)
}

/// One idealised device.
#[must_use]
pub fn idealized() -> TileConfig {
    single(idealized_device(), 31)
}

/// One device as specified by Gokmen and Vlasov.
#[must_use]
pub fn gokmen_vlasov() -> TileConfig {
    single(gokmen_vlasov_device(), 31)
}

/// Pair of phase-change memories, refreshed.
#[must_use]
pub fn pcm() -> CellTileConfig {
    cells(pcm_unit_cell(), 31)
}

/// Two ReRAM devices with exponential steps.
#[must_use]
pub fn re_ram_es2() -> CellTileConfig {
    cells(vector(&re_ram_es_device(), 2), 31)
}

/// Two ReRAM devices with soft bounds.
#[must_use]
pub fn re_ram_sb2() -> CellTileConfig {
    cells(vector(&re_ram_sb_device(), 2), 31)
}

/// Two capacitors.
#[must_use]
pub fn capacitor2() -> CellTileConfig {
    cells(vector(&capacitor_device(), 2), 31)
}

/// Two lithium ECRAMs.
#[must_use]
pub fn ec_ram2() -> CellTileConfig {
    cells(vector(&ec_ram_device(), 2), 31)
}

/// Two metal-oxide ECRAMs.
#[must_use]
pub fn ec_ram_mo2() -> CellTileConfig {
    cells(vector(&ec_ram_mo_device(), 2), 31)
}

/// Two idealised devices.
#[must_use]
pub fn idealized2() -> CellTileConfig {
    cells(vector(&idealized_device(), 2), 31)
}

/// Four ReRAM devices with exponential steps.
#[must_use]
pub fn re_ram_es4() -> CellTileConfig {
    cells(vector(&re_ram_es_device(), 4), 31)
}

/// Four ReRAM devices with soft bounds.
#[must_use]
pub fn re_ram_sb4() -> CellTileConfig {
    cells(vector(&re_ram_sb_device(), 4), 31)
}

/// Four capacitors.
#[must_use]
pub fn capacitor4() -> CellTileConfig {
    cells(vector(&capacitor_device(), 4), 31)
}

/// Four lithium ECRAMs.
#[must_use]
pub fn ec_ram4() -> CellTileConfig {
    cells(vector(&ec_ram_device(), 4), 31)
}

/// Four metal-oxide ECRAMs.
#[must_use]
pub fn ec_ram_mo4() -> CellTileConfig {
    cells(vector(&ec_ram_mo_device(), 4), 31)
}

/// Four idealised devices.
#[must_use]
pub fn idealized4() -> CellTileConfig {
    cells(vector(&idealized_device(), 4), 31)
}

/// Tiki-Taka with ReRAM devices with exponential steps.
#[must_use]
pub fn tiki_taka_re_ram_es() -> CellTileConfig {
    cells(tiki_taka(re_ram_es_device()), 31)
}

/// Tiki-Taka with ReRAM devices with soft bounds.
#[must_use]
pub fn tiki_taka_re_ram_sb() -> CellTileConfig {
    cells(tiki_taka(centred(re_ram_sb_device())), 31)
}

/// Tiki-Taka with capacitors.
#[must_use]
pub fn tiki_taka_capacitor() -> CellTileConfig {
    cells(tiki_taka(capacitor_device()), 31)
}

/// Tiki-Taka with lithium ECRAMs.
#[must_use]
pub fn tiki_taka_ec_ram() -> CellTileConfig {
    cells(tiki_taka(ec_ram_device()), 31)
}

/// Tiki-Taka with metal-oxide ECRAMs.
#[must_use]
pub fn tiki_taka_ec_ram_mo() -> CellTileConfig {
    cells(tiki_taka(ec_ram_mo_device()), 31)
}

/// Tiki-Taka with idealised devices.
#[must_use]
pub fn tiki_taka_idealized() -> CellTileConfig {
    cells(tiki_taka(idealized_device()), 31)
}

/// Tiki-Taka version 2 with ReRAM devices with exponential steps.
#[must_use]
pub fn ttv2_re_ram_es() -> CellTileConfig {
    let rates = Buffered { fast_lr: 0.5, auto_granularity: 1000.0, in_chop_prob: 0.0 };
    cells(ttv2(re_ram_es_device(), rates), 31)
}

/// Tiki-Taka version 2 with ReRAM devices with soft bounds.
#[must_use]
pub fn ttv2_re_ram_sb() -> CellTileConfig {
    let rates = Buffered { fast_lr: 0.5, auto_granularity: 1000.0, in_chop_prob: 0.0 };
    cells(ttv2(centred(re_ram_sb_device()), rates), 31)
}

/// Tiki-Taka version 2 with capacitors.
#[must_use]
pub fn ttv2_capacitor() -> CellTileConfig {
    let rates = Buffered { fast_lr: 0.1, auto_granularity: 1000.0, in_chop_prob: 0.0 };
    cells(ttv2(capacitor_device(), rates), 31)
}

/// Tiki-Taka version 2 with lithium ECRAMs.
#[must_use]
pub fn ttv2_ec_ram() -> CellTileConfig {
    let rates = Buffered { fast_lr: 0.1, auto_granularity: 500.0, in_chop_prob: 0.0 };
    cells(ttv2(ec_ram_device(), rates), 100)
}

/// Tiki-Taka version 2 with metal-oxide ECRAMs.
#[must_use]
pub fn ttv2_ec_ram_mo() -> CellTileConfig {
    let rates = Buffered { fast_lr: 0.1, auto_granularity: 500.0, in_chop_prob: 0.0 };
    cells(ttv2(ec_ram_mo_device(), rates), 100)
}

/// Tiki-Taka version 2 with idealised devices.
#[must_use]
pub fn ttv2_idealized() -> CellTileConfig {
    let rates = Buffered { fast_lr: 0.1, auto_granularity: 500.0, in_chop_prob: 0.0 };
    cells(ttv2(idealized_device(), rates), 100)
}

/// Chopped Tiki-Taka version 2 with ReRAM devices with exponential steps.
#[must_use]
pub fn chopped_ttv2_re_ram_es() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.01, fast_lr: 0.5, auto_granularity: 1000.0 };
    cells(ttv2(re_ram_es_device(), rates), 31)
}

/// Chopped Tiki-Taka version 2 with ReRAM devices with soft bounds.
#[must_use]
pub fn chopped_ttv2_re_ram_sb() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.01, fast_lr: 0.5, auto_granularity: 1000.0 };
    cells(ttv2(centred(re_ram_sb_device()), rates), 31)
}

/// Chopped Tiki-Taka version 2 with capacitors.
#[must_use]
pub fn chopped_ttv2_capacitor() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.01, fast_lr: 0.1, auto_granularity: 1000.0 };
    cells(ttv2(capacitor_device(), rates), 31)
}

/// Chopped Tiki-Taka version 2 with lithium ECRAMs.
#[must_use]
pub fn chopped_ttv2_ec_ram() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.01, fast_lr: 1.0, auto_granularity: 500.0 };
    cells(ttv2(ec_ram_device(), rates), 100)
}

/// Chopped Tiki-Taka version 2 with metal-oxide ECRAMs.
#[must_use]
pub fn chopped_ttv2_ec_ram_mo() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.001, fast_lr: 0.1, auto_granularity: 500.0 };
    cells(ttv2(ec_ram_mo_device(), rates), 100)
}

/// Chopped Tiki-Taka version 2 with idealised devices.
#[must_use]
pub fn chopped_ttv2_idealized() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.001, fast_lr: 0.1, auto_granularity: 500.0 };
    cells(ttv2(idealized_device(), rates), 100)
}

/// AGAD with ReRAM devices with exponential steps.
#[must_use]
pub fn agad_re_ram_es() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.02, fast_lr: 0.5, auto_granularity: 1000.0 };
    cells(agad(re_ram_es_device(), rates, 5.0), 31)
}

/// AGAD with ReRAM devices with soft bounds.
#[must_use]
pub fn agad_re_ram_sb() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.02, fast_lr: 0.5, auto_granularity: 1000.0 };
    cells(agad(centred(re_ram_sb_device()), rates, 5.0), 31)
}

/// AGAD with capacitors.
#[must_use]
pub fn agad_capacitor() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.01, fast_lr: 0.1, auto_granularity: 1000.0 };
    cells(agad(capacitor_device(), rates, 20.0), 31)
}

/// AGAD with lithium ECRAMs.
#[must_use]
pub fn agad_ec_ram() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.005, fast_lr: 0.1, auto_granularity: 750.0 };
    cells(agad(ec_ram_device(), rates, 50.0), 31)
}

/// AGAD with metal-oxide ECRAMs.
#[must_use]
pub fn agad_ec_ram_mo() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.005, fast_lr: 0.1, auto_granularity: 500.0 };
    cells(agad(ec_ram_mo_device(), rates, 50.0), 100)
}

/// AGAD with idealised devices.
#[must_use]
pub fn agad_idealized() -> CellTileConfig {
    let rates = Buffered { in_chop_prob: 0.005, fast_lr: 0.1, auto_granularity: 500.0 };
    cells(agad(idealized_device(), rates, 50.0), 100)
}

/// Mixed precision with one ReRAM device with exponential steps.
#[must_use]
pub fn mixed_precision_re_ram_es() -> CellTileConfig {
    cells(mixed_precision(re_ram_es_device()), 31)
}

/// Mixed precision with one ReRAM device with soft bounds.
#[must_use]
pub fn mixed_precision_re_ram_sb() -> CellTileConfig {
    cells(mixed_precision(re_ram_sb_device()), 31)
}

/// Mixed precision with one capacitor.
#[must_use]
pub fn mixed_precision_capacitor() -> CellTileConfig {
    cells(mixed_precision(capacitor_device()), 31)
}

/// Mixed precision with one lithium ECRAM.
#[must_use]
pub fn mixed_precision_ec_ram() -> CellTileConfig {
    cells(mixed_precision(ec_ram_device()), 31)
}

/// Mixed precision with one metal-oxide ECRAM.
#[must_use]
pub fn mixed_precision_ec_ram_mo() -> CellTileConfig {
    cells(mixed_precision(ec_ram_mo_device()), 31)
}

/// Mixed precision with one idealised device.
#[must_use]
pub fn mixed_precision_idealized() -> CellTileConfig {
    cells(mixed_precision(idealized_device()), 31)
}

/// Mixed precision with one device as specified by Gokmen and Vlasov.
#[must_use]
pub fn mixed_precision_gokmen_vlasov() -> CellTileConfig {
    cells(mixed_precision(gokmen_vlasov_device()), 31)
}

/// Mixed precision with a pair of phase-change memories.
#[must_use]
pub fn mixed_precision_pcm() -> CellTileConfig {
    cells(mixed_precision(pcm_unit_cell()), 31)
}
