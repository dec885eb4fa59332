import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.processor.api.RecordMetadata;

/**
 * Prints a label for each order, as any program of Kafka Streams would: reads two topics, writes a third one.
 *
 * Arguments: bootstrap, application id, state directory, topic of orders, topic of what was sold, topic of labels, how
 * many partitions each has, how many records there are in the first two, file for what was seen. A label is keyed by a
 * text that no order has. What was seen: topic, key, partition, the partition that Kafka's client would choose, type,
 * number, cause (the header ce_causationid).
 */
public class Labels {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] given) throws Exception {
        String orders = given[3], sold = given[4], labels = given[5];
        int partitions = Integer.parseInt(given[6]);
        CountDownLatch all = new CountDownLatch(Integer.parseInt(given[7]));
        ConcurrentLinkedQueue<String> seen = new ConcurrentLinkedQueue<>();
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(List.of(orders, sold), Consumed.with(Serdes.String(), Serdes.ByteArray()))
            .process(() -> new Printing(partitions, seen, all))
            .to(labels, Produced.with(Serdes.String(), Serdes.ByteArray()));

        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, given[1]);
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, given[2]);
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), 60_000);  // or a pause has it read twice
        KafkaStreams streams = new KafkaStreams(builder.build(), settings);
        streams.start();
        boolean read = all.await(150, TimeUnit.SECONDS);
        streams.close();  // commits
        if (!read) throw new IllegalStateException(all.getCount() + " records were not read");
        Files.write(Path.of(given[8]), List.copyOf(seen), StandardCharsets.UTF_8);
    }

    private static class Printing extends ContextualProcessor<String, byte[], String, byte[]> {
        private final int partitions;
        private final ConcurrentLinkedQueue<String> seen;
        private final CountDownLatch all;

        Printing(int partitions, ConcurrentLinkedQueue<String> seen, CountDownLatch all) {
            this.partitions = partitions;
            this.seen = seen;
            this.all = all;
        }

        @Override
        public void process(Record<String, byte[]> record) {
            JsonNode event = read(record.value());
            RecordMetadata place = context().recordMetadata().orElseThrow();
            int chosen = BuiltInPartitioner.partitionForKey(record.key().getBytes(StandardCharsets.UTF_8), partitions);
            Header cause = record.headers().lastHeader("ce_causationid");
            boolean placed = event.get("eventType").asText().equals("OrderPlaced");
            BigDecimal number = new BigDecimal(event.get(placed ? "total" : "price").asText());
            seen.add(String.join("\t", place.topic(), record.key(), "" + place.partition(), "" + chosen,
                event.get("eventType").asText(), number.toPlainString(),
                cause == null ? "" : new String(cause.value(), StandardCharsets.UTF_8)));
            if (placed) print(record, event, number);
            all.countDown();
        }

        private void print(Record<String, byte[]> record, JsonNode event, BigDecimal total) {
            ObjectNode label = JSON.createObjectNode();
            label.put("timestamp", event.get("timestamp").asText());
            label.put("total", total);
            label.put("orderId", event.get("orderId").asText());
            label.put("label", "ñ-" + record.key());
            label.put("eventType", "LabelPrinted");
            byte[] value = label.toString().getBytes(StandardCharsets.UTF_8);
            Record<String, byte[]> printed = new Record<>("ñ-" + record.key(), value, record.timestamp());
            context().forward(printed);
        }

        private static JsonNode read(byte[] value) {
            try {
                return JSON.readTree(value);
            } catch (java.io.IOException error) {
                throw new java.io.UncheckedIOException(error);
            }
        }
    }
}
