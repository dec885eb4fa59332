CREATE TABLE order_summary AS
SELECT orderId, SUM(item_price) AS total
FROM order-events
GROUP BY orderId;
