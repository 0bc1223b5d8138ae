"""The model that trains a student: three losses, one custom train step."""

from typing import Any, get_args

import keras
from keras import ops

from kdmatch.distillation.losses import exponential_scaling, grouped_hinge, masked_mse
from kdmatch.distillation.options import HardLoss, Scaling, SoftLoss
from kdmatch.distillation.soft_losses import soft_loss
from kdmatch.models.matcher import with_logits


@keras.saving.register_keras_serializable("kdmatch")
class Distiller(keras.Model):
    """Trains a student on `L = α·soft + β·hard + γ·relevance`, exponentially scaled.

    | loss | is | reads |
    | --- | --- | --- |
    | soft | MSE of both logits, or one over rows of a query | `scores[soft_score]`, `group` |
    | hard | hinge over pairs of one query, pointwise MSE, or both | `label`, `group` |
    | relevance | MSE of the student's logits and the GBDT's scores | `scores[relevance_score]` |

    The teachers' scores come with the batch: no teacher is called, saved or
    held in memory. Calling the distiller calls the student, so `predict`,
    callbacks, saving and export see an ordinary Keras model. With
    `alpha=gamma=0` it trains on labels alone: so are teachers and controls.

    Args:
        student: Functional keras.Model, scores `(batch,)` out, with a layer
            named `logit` before the last tanh.
        alpha, beta, gamma: float. Weights of the three losses.
        margin: float. Threshold of the hinge.
        scaling: "exp" or "none".
        hard: "hinge", "pointwise" (MSE of logit and standardised label) or
            "both" (their sum).
        soft: "mse", or over rows of one query "margin_mse", "ranknet" or
            "listwise"; see `kdmatch.distillation.soft_losses`.
        temperature: float, positive. Of "ranknet" and "listwise".
        soft_score, relevance_score: str. Names of the teachers' scores.

    Call args of a batch (`fit`, `evaluate`):
        x: the student's inputs.
        y: `{"label", "group", "scores": {name: …}}`, each `(batch,)`; label
            and scores are standardised and NaN where there is none.
        sample_weight: float `(batch,)`, optional.

    Metrics:
        `loss`, `soft_loss`, `hard_loss`, `relevance_loss`, means over batches.

    Raises:
        ValueError: if a weight is negative, a choice unknown, or a score that
            a loss with a weight needs is not in the batch.

    Reference:
        Hinton et al., "Distilling the knowledge in a neural network", 2015;
        Tang et al., "Distilling task-specific knowledge from BERT into simple
        neural networks", 2019 (MSE of logits).
    """

    def __init__(
        self,
        student: keras.Model,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        margin: float = 0.7,
        scaling: Scaling = "exp",
        hard: HardLoss = "hinge",
        soft: SoftLoss = "mse",
        temperature: float = 1.0,
        soft_score: str = "teacher",
        relevance_score: str = "gbdt",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(alpha, beta, gamma) < 0:
            raise ValueError(f"loss weights must not be negative: {alpha=}, {beta=}, {gamma=}")
        if not max(alpha, beta, gamma):
            raise ValueError("alpha, beta and gamma are all 0: nothing to learn from; raise one")
        if scaling not in ("exp", "none"):
            raise ValueError(f"scaling is {scaling!r}; choose 'exp' or 'none'")
        if hard not in ("hinge", "pointwise", "both"):
            raise ValueError(f"hard is {hard!r}; choose 'hinge', 'pointwise' or 'both'")
        if soft not in get_args(SoftLoss):
            raise ValueError(f"soft is {soft!r}; choose one of {', '.join(get_args(SoftLoss))}")
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; it must be positive")
        self.student = student
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.margin, self.scaling, self.hard = margin, scaling, hard
        self.soft, self.temperature = soft, temperature
        self.soft_score, self.relevance_score = soft_score, relevance_score
        self._outputs = with_logits(student)
        self._trackers = {
            name: keras.metrics.Mean(name=f"{name}_loss") for name in ("soft", "hard", "relevance")
        }
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.student(inputs, training=training)

    @property
    def soft_by_query(self) -> bool:
        """Whether the soft loss compares rows of one query, so that batches should hold some."""
        return self.soft != "mse" and self.alpha > 0

    def losses_of(self, outputs: dict[str, Any], y: dict[str, Any], weight: Any) -> dict[str, Any]:
        """The unweighted components `soft`, `hard`, `relevance` of a batch."""
        logit, score = outputs["logit"], outputs["score"]
        parts = {}
        for part, factor, name in (
            ("soft", self.alpha, self.soft_score),
            ("relevance", self.gamma, self.relevance_score),
        ):
            if factor and name not in y["scores"]:
                raise ValueError(
                    f"the batch has no score {name!r} (it has {sorted(y['scores'])}), which the "
                    f"{part} loss needs; write it, or set the loss's weight to 0"
                )
            if name in y["scores"]:
                kind = soft_loss(self.soft if part == "soft" else "mse")
                target = y["scores"][name]
                parts[part] = kind(logit, target, y["group"], weight, self.temperature)
        parts["hard"] = 0.0
        if self.hard in ("hinge", "both"):
            parts["hard"] += grouped_hinge(score, y["label"], y["group"], weight, self.margin)
        if self.hard in ("pointwise", "both"):
            parts["hard"] += masked_mse(logit, y["label"], weight)
        return parts

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Combined, scaled loss; `y_pred` is `{"logit", "score"}` or None to run the student."""
        if not isinstance(y_pred, dict):
            y_pred = self._outputs(x, training=training)
        weight = ops.ones_like(y_pred["logit"])
        if sample_weight is not None:
            # Keras repeats the weights of in-memory arrays for every target of a nested y.
            weight = ops.cast(keras.tree.flatten(sample_weight)[0], weight.dtype)
        parts = self.losses_of(y_pred, y, weight)
        for name, value in parts.items():
            self._trackers[name].update_state(value)
        factors = {"soft": self.alpha, "hard": self.beta, "relevance": self.gamma}
        loss = sum(factors[name] * value for name, value in parts.items() if factors[name])
        if self.scaling == "exp":
            loss = exponential_scaling(loss)
        return loss

    def train_step(self, *args: Any) -> Any:
        """One update, on the TensorFlow and on the JAX backend."""
        if keras.backend.backend() == "jax":
            return self._train_step_jax(*args)
        return self._train_step_tensorflow(*args)

    def _train_step_tensorflow(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self._outputs(x, training=True), weight)
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(scaled, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        self._loss_tracker.update_state(loss)
        return self.get_metrics_result()

    def _train_step_jax(self, state: Any, data: Any) -> Any:
        import jax

        trainable, fixed, optimizer, metrics = state
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)

        def objective(trainable: Any) -> Any:
            mapping = [
                *zip(self.trainable_variables, trainable, strict=True),
                *zip(self.non_trainable_variables, fixed, strict=True),
                *zip(self.metrics_variables, metrics, strict=True),
            ]
            with keras.StatelessScope(mapping) as scope:
                loss = self.compute_loss(x, y, self._outputs(x, training=True), weight)
                self._loss_tracker.update_state(loss)
                results = self.get_metrics_result()
            after = (
                [_current(scope, variable) for variable in self.non_trainable_variables],
                [_current(scope, variable) for variable in self.metrics_variables],
            )
            return self.optimizer.scale_loss(loss), (results, *after)

        gradients, (results, fixed, metrics) = jax.grad(objective, has_aux=True)(trainable)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return results, (trainable, fixed, optimizer, metrics)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "alpha": self.alpha,
            "beta": self.beta,
            "gamma": self.gamma,
            "margin": self.margin,
            "scaling": self.scaling,
            "hard": self.hard,
            "soft": self.soft,
            "temperature": self.temperature,
            "soft_score": self.soft_score,
            "relevance_score": self.relevance_score,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Distiller":
        student = keras.saving.deserialize_keras_object(config.pop("student"))
        return cls(student=student, **config)


def _current(scope: Any, variable: Any) -> Any:
    value = scope.get_current_value(variable)
    return variable.value if value is None else value
