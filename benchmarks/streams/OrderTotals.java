import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintWriter;
import java.lang.management.ManagementFactory;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;

/**
 * The totals of orders, kept by Kafka Streams: SELECT orderId, SUM(item_price) ... GROUP BY orderId.
 *
 * Arguments: bootstrap, topic, application id, state directory, threads, processing guarantee, number of events, file for
 * the rows. Each record is keyed by its order, so nothing is repartitioned. Prints a line of JSON: the seconds from the
 * first record until all are in the store and committed (closing flushes the store and commits), and CPU seconds.
 */
public class OrderTotals {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Serde<BigDecimal> DECIMAL = Serdes.serdeFrom(
        (topic, value) -> value == null ? null : value.toPlainString().getBytes(StandardCharsets.UTF_8),
        (topic, bytes) -> bytes == null ? null : new BigDecimal(new String(bytes, StandardCharsets.UTF_8)));

    public static void main(String[] given) throws Exception {
        String bootstrap = given[0], topic = given[1], application = given[2], directory = given[3];
        long expected = Long.parseLong(given[6]);
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, given[4]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, given[5]);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");

        AtomicLong count = new AtomicLong();
        AtomicLong begun = new AtomicLong();
        CountDownLatch all = new CountDownLatch(expected == 0 ? 0 : 1);  // nothing is left after a restart
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(topic, Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .groupByKey(Grouped.with(Serdes.String(), Serdes.ByteArray()))
            .aggregate(
                () -> BigDecimal.ZERO,
                (order, value, total) -> {
                    if (begun.get() == 0) begun.compareAndSet(0, System.nanoTime());
                    BigDecimal sum = total.add(priceOf(value));
                    if (count.incrementAndGet() == expected) all.countDown();
                    return sum;
                },
                Materialized.<String, BigDecimal, KeyValueStore<Bytes, byte[]>>as("order-totals")
                    .withKeySerde(Serdes.String()).withValueSerde(DECIMAL));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.start();
        all.await();
        while (streams.state() != KafkaStreams.State.RUNNING) Thread.sleep(5);
        long read = System.nanoTime();
        dump(streams, Path.of(given[7]));
        long dumped = System.nanoTime();
        double cpuBefore = cpuSeconds();
        streams.close();
        double seconds = (read - begun.get() + System.nanoTime() - dumped) / 1e9;
        System.out.println("{\"seconds\":" + seconds + ",\"cpu_s\":" + cpuBefore + "}");
    }

    private static BigDecimal priceOf(byte[] value) {
        try {
            BigDecimal sum = BigDecimal.ZERO;
            for (JsonNode item : JSON.readTree(value).path("items")) {
                sum = sum.add(new BigDecimal(item.get("item_price").asText()));
            }
            return sum;
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }

    private static void dump(KafkaStreams streams, Path file) throws Exception {
        var store = streams.store(StoreQueryParameters.fromNameAndType(
            "order-totals", QueryableStoreTypes.<String, BigDecimal>keyValueStore()));
        try (PrintWriter out = new PrintWriter(Files.newBufferedWriter(file)); var rows = store.all()) {
            while (rows.hasNext()) {
                var row = rows.next();
                out.println(row.key + "\t" + row.value.toPlainString());
            }
        }
    }

    private static double cpuSeconds() {
        var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        return system.getProcessCpuTime() / 1e9;
    }
}
