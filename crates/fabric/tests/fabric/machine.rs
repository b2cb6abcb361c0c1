//! From a machine file to a running fabric.

use p2pdma_fabric::{Endpoint, Error, Fabric};
use p2pdma_pci::machine::{Machine, Model};
use p2pdma_pci::topology::{Allowlist, Route};

use crate::support::Puppet;

const TEXT: &str = r#"
name = "test"
[host]
cpu = "AuthenticAMD/0x17"
[iommu]
mode = "passthrough"
[timing]
model = "pcie"
[[host-bridge]]
name = "host0"
id = "8086:29c0"
p2p = "forward"
[[root-port]]
name = "rp0"
on = "host0"
[[root-port]]
name = "rp1"
on = "host0"
[[switch]]
name = "sw0"
below = "rp0"
ports = 3
[[nvme]]
name = "nvme0"
below = "sw0.0"
[[nvme]]
name = "nvme1"
below = "sw0.2"
[[bar-memory]]
name = "gpu0"
below = "rp1"
size = "1M"
[[data-mover]]
name = "mover0"
below = "rp1"
function = 1
"#;

#[test]
fn a_file_becomes_a_machine_with_its_names_places_and_verdicts() {
    let machine = Machine::parse(TEXT, "test.toml").unwrap();
    let mut seen = Vec::new();
    let fabric = Fabric::from_machine(&machine, Allowlist::kernel(), |function| {
        let kind = match function.model {
            Model::Nvme(_) => "nvme",
            Model::BarMemory(_) => "bar-memory",
            Model::DataMover => "data-mover",
        };
        seen.push(format!("{} {kind}", function.name));
        Ok::<Box<dyn Endpoint>, Error>(Box::new(Puppet::new()))
    });
    let fabric = fabric.unwrap();
    assert_eq!(seen, ["nvme0 nvme", "nvme1 nvme", "gpu0 bar-memory", "mover0 data-mover"]);
    let place = |name| fabric.find(name).unwrap().to_string();
    let places = ["nvme0", "nvme1", "gpu0", "mover0"].map(place);
    assert_eq!(places, ["0000:03:00.0", "0000:05:00.0", "0000:06:00.0", "0000:06:00.1"]);
    // With an IOMMU on, Linux redirects at every port; Zen's root complex is trusted to carry it.
    let topology = fabric.topology().unwrap();
    let route = topology.route(fabric.find("nvme0").unwrap(), fabric.find("nvme1").unwrap());
    assert!(matches!(route, Route::ThroughHostBridge { distance: 4, .. }), "{route:?}");
    assert!(fabric.start_stream().is_some(), "time is modelled");
}

#[test]
fn a_model_that_cannot_be_made_ends_the_build_with_its_own_error() {
    #[derive(Debug, PartialEq)]
    struct NoModel(String);
    impl From<Error> for NoModel {
        fn from(error: Error) -> Self {
            Self(error.to_string())
        }
    }
    let machine = Machine::parse(TEXT, "test.toml").unwrap();
    let built = Fabric::from_machine(&machine, Allowlist::kernel(), |function| {
        Err(NoModel(function.name.clone()))
    });
    assert_eq!(built.map(drop), Err(NoModel("nvme0".to_owned())));
}
