//! The channel's own share of an exchange of 64 bytes each way (a read and a write: two operations),
//! by the size of the batch and the number of handles. `stack` is what the calls into the stack that
//! does nothing take, to be subtracted.

mod ping_pong;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use megapipe::testing::IdleStackCore;
use ping_pong::{Calls, PingPong, STRIDE};

fn exchanges(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    for (batch, handles) in [
        (32, 32),
        (32, 10_000),
        (32, 100_000),
        (1, 1),
        (1, 10_000),
        (1, 100_000),
    ] {
        for calls in Calls::ALL {
            let mut core = IdleStackCore::new(handles, batch, PingPong::new(handles, calls));
            // Messages that come together, on as many handles.
            let together = batch;
            let mut next = 0;
            group.throughput(Throughput::Elements(together as u64));
            group.bench_function(
                BenchmarkId::new(calls.name(), format!("batch {batch}, {handles} handles")),
                |bencher| {
                    bencher.iter(|| {
                        for _ in 0..together {
                            core.arrive(next);
                            next = (next + STRIDE) % handles;
                        }
                        core.turn();
                    });
                },
            );
        }
    }
    let mut core = IdleStackCore::new(32, 32, PingPong::new(32, Calls::Read));
    group.throughput(Throughput::Elements(32));
    group.bench_function("stack", |bencher| {
        bencher.iter(|| {
            for connection in 0..32 {
                core.arrive(connection);
                core.stack_calls(connection);
            }
        });
    });
    group.finish();
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
