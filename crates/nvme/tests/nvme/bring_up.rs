//! Opening a controller, and doing something with it.

use p2pdma_nvme::{Data, QueueOptions};
use p2pdma_pci::Duration;

use crate::support::{controller::FakeController, open};

const SECOND: Duration = Duration::from_millis(1000);

#[test]
fn what_was_written_is_read() {
    let (machine, controller) = open(FakeController::default());
    let controller = controller.unwrap();
    assert_eq!(controller.namespaces(), [1]);
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(4)).unwrap();
    let buffer = controller.alloc_dma(4096).unwrap();
    buffer.memory().fill(0, 4096, 7).unwrap();
    queue.submit(&namespace.write(8, 8).unwrap(), Data::from(&buffer), "write").unwrap();
    let done = queue.wait(SECOND).unwrap().unwrap();
    assert_eq!((done.token, done.outcome), ("write", Ok(0)));
    buffer.memory().fill(0, 4096, 0).unwrap();
    queue.submit(&namespace.read(8, 8).unwrap(), Data::from(&buffer), "read").unwrap();
    let done = queue.wait(SECOND).unwrap().unwrap();
    assert_eq!((done.token, done.outcome), ("read", Ok(0)));
    assert_eq!(buffer.memory().read_value::<[u8; 4096]>(0).unwrap(), [7; 4096]);
    assert!(queue.wait(SECOND).unwrap().is_none());
    drop((queue, controller, buffer));
    assert_eq!((machine.held(), machine.strays(), machine.broken_canaries()), (0, 0, 0));
    assert!(!machine.bus_master());
}
