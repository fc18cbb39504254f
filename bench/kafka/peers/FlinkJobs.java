import java.util.List;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The bench's jobs in Flink, in a cluster within this process: FlinkJobs pass|windows BROKERS TOPIC OUTPUT PARALLELISM.
 *
 * <p>Prints the seconds from before the job is submitted to after its last commit.
 */
public class FlinkJobs {
    private static final String TIMEOUT = "60000"; // of transactions, ms: what the broker allows is less than Flink's hour

    public static void main(String[] given) throws Exception {
        Configuration options = new Configuration();
        options.setString("parallelism.default", given[4]);
        options.setString("execution.checkpointing.interval", "1s");
        options.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
        options.setString("execution.checkpointing.storage", "filesystem");
        options.setString("execution.checkpointing.dir", given[5]);
        options.setString("state.backend.type", "hashmap");
        options.setString("pipeline.object-reuse", "true");
        options.setString("taskmanager.memory.network.max", "256m");
        options.setString("taskmanager.memory.network.min", "256m");
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.getExecutionEnvironment(options);
        long began = System.nanoTime();
        if (given[0].equals("pass")) {
            pass(flink, given[1], given[2], given[3]);
        } else {
            windows(flink, given[1], given[2], given[3]);
        }
        System.out.println((System.nanoTime() - began) / 1e9);
        System.out.flush();
        System.exit(0);
    }

    private static void pass(StreamExecutionEnvironment flink, String brokers, String topic, String output)
            throws Exception {
        KafkaSource<Tuple2<byte[], byte[]>> source =
                KafkaSource.<Tuple2<byte[], byte[]>>builder()
                        .setBootstrapServers(brokers)
                        .setTopics(List.of(topic))
                        .setStartingOffsets(OffsetsInitializer.earliest())
                        .setBounded(OffsetsInitializer.latest())
                        .setDeserializer(new Records())
                        .build();
        KafkaSink<Tuple2<byte[], byte[]>> sink =
                KafkaSink.<Tuple2<byte[], byte[]>>builder()
                        .setBootstrapServers(brokers)
                        .setRecordSerializer(new Copies(output))
                        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
                        .setTransactionalIdPrefix(output)
                        .setProperty("transaction.timeout.ms", TIMEOUT)
                        .setProperty("linger.ms", "5")
                        .setProperty("batch.size", "131072")
                        .build();
        flink.fromSource(source, WatermarkStrategy.noWatermarks(), "in").sinkTo(sink);
        flink.execute("pass");
    }

    private static void windows(StreamExecutionEnvironment flink, String brokers, String topic, String output)
            throws Exception {
        StreamTableEnvironment tables = StreamTableEnvironment.create(flink);
        tables.getConfig().set("table.local-time-zone", "UTC");
        String kafka = "'connector' = 'kafka', 'properties.bootstrap.servers' = '" + brokers + "', 'topic' = '%s', ";
        tables.executeSql(
                "CREATE TABLE bids (auction BIGINT, price BIGINT, date_time TIMESTAMP_LTZ(3),"
                        + " WATERMARK FOR date_time AS date_time - INTERVAL '2' SECOND) WITH ("
                        + String.format(kafka, topic)
                        + "'scan.startup.mode' = 'earliest-offset', 'scan.bounded.mode' = 'latest-offset',"
                        + " 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601')");
        tables.executeSql(
                "CREATE TABLE totals (auction BIGINT, window_start TIMESTAMP_LTZ(3), window_end TIMESTAMP_LTZ(3),"
                        + " bids BIGINT, revenue BIGINT, top BIGINT) WITH ("
                        + String.format(kafka, output)
                        + "'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601',"
                        + " 'key.format' = 'json', 'key.fields' = 'auction',"
                        + " 'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = '" + output
                        + "', 'properties.transaction.timeout.ms' = '" + TIMEOUT + "')");
        tables.executeSql(
                        "INSERT INTO totals SELECT auction, window_start, window_end, COUNT(*), SUM(price), MAX(price)"
                                + " FROM TABLE(TUMBLE(TABLE bids, DESCRIPTOR(date_time), INTERVAL '10' SECOND))"
                                + " GROUP BY auction, window_start, window_end")
                .await();
    }

    /** Keys and values as they are. */
    private static final class Records implements KafkaRecordDeserializationSchema<Tuple2<byte[], byte[]>> {
        @Override
        public void deserialize(
                ConsumerRecord<byte[], byte[]> found, Collector<Tuple2<byte[], byte[]>> out) {
            out.collect(Tuple2.of(found.key(), found.value()));
        }

        @Override
        public TypeInformation<Tuple2<byte[], byte[]>> getProducedType() {
            return TypeInformation.of(new TypeHint<Tuple2<byte[], byte[]>>() {});
        }
    }

    /** Keys and values as they are, to another topic. */
    private static final class Copies implements KafkaRecordSerializationSchema<Tuple2<byte[], byte[]>> {
        private final String topic;

        Copies(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(
                Tuple2<byte[], byte[]> row, KafkaSinkContext context, Long timestamp) {
            return new ProducerRecord<>(topic, row.f0, row.f1);
        }
    }
}
