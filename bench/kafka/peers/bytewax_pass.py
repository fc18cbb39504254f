"""bytewax, records as they are: ``bytewax_pass.py BROKERS TOPIC OUTPUT COUNT``; prints the seconds it took."""

import sys
import time

from bytewax import operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kop
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

brokers, topic, output, _ = sys.argv[1:]
began = time.perf_counter()
flow = Dataflow("pass")
records = kop.input("in", flow, brokers=[brokers], topics=[topic], tail=False, batch_size=10_000)
messages = op.map("message", records.oks, lambda found: KafkaSinkMessage(found.key, found.value))
kop.output("out", messages, brokers=[brokers], topic=output)
run_main(flow)
print(time.perf_counter() - began)
