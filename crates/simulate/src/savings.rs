//! What a fleet's updates cost in a year.

const GIB_BYTES: f64 = (1_u64 << 30) as f64;

/// How much of a raw image xz leaves, in the mean of Rugix's benchmark: the first line of its calculator,
/// 303.4 USD for 12 updates a year of 1.5 GiB for 1000 devices at 0.09 USD a GiB.
pub const XZ_OF_RAW: f64 = 0.1873;

/// Devices, and what they fetch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// How many.
    pub devices: u64,
    /// How often each of them is updated in a year.
    pub updates_per_year: f64,
    /// How long an image is, in bytes, unpacked.
    pub image_bytes: u64,
    /// What one GiB costs that is transferred.
    pub price_per_gib: f64,
}

impl Fleet {
    /// What a year costs where an update transfers this fraction of the unpacked image.
    pub fn cost_per_year(&self, fraction: f64) -> f64 {
        let transferred_gib = self.image_bytes as f64 / GIB_BYTES * fraction;
        self.updates_per_year * self.devices as f64 * transferred_gib * self.price_per_gib
    }
}

/// How often there are updates: the rarer they are, the more changes from one to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cadence {
    /// Each month.
    Month,
    /// Each quarter.
    Quarter,
    /// Twice a year.
    HalfYear,
    /// Once a year.
    Year,
}

impl Cadence {
    /// The cadence next to so many updates a year, by their ratio: 7 are more like 12 than like 4.
    pub fn of(updates_per_year: f64) -> Self {
        // The limits are the geometric means of 12, 4, 2 and 1.
        match updates_per_year * updates_per_year {
            48.0.. => Self::Month,
            8.0.. => Self::Quarter,
            2.0.. => Self::HalfYear,
            _ => Self::Year,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Month => "monthly",
            Self::Quarter => "quarterly",
            Self::HalfYear => "twice a year",
            Self::Year => "yearly",
        }
    }
}

/// What one way transfers in Rugix's published benchmark: 25 monthly snapshots of Debian bookworm and
/// bullseye, arm64.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// The way, as its calculator calls it.
    pub name: &'static str,
    /// Who goes that way.
    pub tools: &'static str,
    /// The mean as a fraction of the image packed with xz: monthly, quarterly, twice a year, yearly.
    of_xz: [f64; 4],
}

impl Published {
    /// The mean as a fraction of the unpacked image.
    pub fn of_raw(&self, cadence: Cadence) -> f64 {
        XZ_OF_RAW * self.of_xz[cadence as usize]
    }
}

/// The calculator's lines. The monthly fractions have a digit more than the benchmark's text gives, so that
/// the costs come out as the calculator shows them: 303.4, 77.2, 68.7, 60.7 and 36.1 USD.
pub const PUBLISHED: [Published; 5] = [
    Published { name: "no delta updates", tools: "", of_xz: [1.0; 4] },
    Published {
        name: "blocks, fixed 4 KiB / 32 KiB",
        tools: "as RAUC",
        of_xz: [0.2544, 0.416, 0.556, 0.663],
    },
    Published { name: "blocks, casync 16 KiB", tools: "Rugix, casync", of_xz: [0.2264, 0.385, 0.524, 0.637] },
    Published { name: "files, deltar 16 KiB", tools: "as OSTree, APT", of_xz: [0.2000, 0.344, 0.466, 0.565] },
    Published {
        name: "delta compression, xdelta",
        tools: "Rugix, Mender, xdelta3",
        of_xz: [0.1190, 0.182, 0.233, 0.275],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    const FLEET: Fleet =
        Fleet { devices: 1000, updates_per_year: 12.0, image_bytes: 3 << 29, price_per_gib: 0.09 };

    #[test]
    fn the_published_table_comes_out() {
        let costs = PUBLISHED.map(|way| FLEET.cost_per_year(way.of_raw(Cadence::Month)));
        let tenths = costs.map(|cost| (10.0 * cost).round() as u64);
        assert_eq!(tenths, [3034, 772, 687, 607, 361]);
        let whole = costs.map(|cost| cost.round() as u64);
        assert_eq!(whole, [303, 77, 69, 61, 36]);
        let savings = costs.map(|cost| (costs[0] - cost).round() as u64);
        assert_eq!(savings, [0, 226, 235, 243, 267]);
    }

    #[test]
    fn a_cost_grows_with_each_of_its_factors() {
        let cost = FLEET.cost_per_year(0.1);
        let doubled = [
            Fleet { devices: 2000, ..FLEET },
            Fleet { updates_per_year: 24.0, ..FLEET },
            Fleet { image_bytes: 3 << 30, ..FLEET },
            Fleet { price_per_gib: 0.18, ..FLEET },
        ];
        for fleet in doubled {
            assert!((fleet.cost_per_year(0.1) - 2.0 * cost).abs() < 1e-9);
        }
    }

    #[test]
    fn the_next_cadence_is_taken() {
        use Cadence::{HalfYear, Month, Quarter, Year};

        let names = [365.0, 12.0, 7.0, 6.9, 4.0, 3.0, 2.0, 1.5, 1.4, 0.5].map(Cadence::of);
        let expected = [Month, Month, Month, Quarter, Quarter, Quarter, HalfYear, HalfYear, Year, Year];
        assert_eq!(names, expected);
    }
}
